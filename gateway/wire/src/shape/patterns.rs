//! Patterns of places: `/messages/*/content/parts/**`, and `#` where a string holds a JSON text.
//!
//! `*` stands for any one step, `**` for any number of steps, those into a string included. All patterns of
//! a route are matched at once, as a set of states that is a number.

use cordon_domain::Role;

/// Where in all patterns a walk is: a bit for each step that may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct States(u128);

/// The patterns of one route.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    steps: Vec<Step>,
    starts: u128,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A member of that name, or the item of that index.
    Named(String),
    Any,
    /// Any number of steps.
    Deep,
    /// Into the JSON text that a string holds.
    Inside,
    /// Here the pattern ends.
    End(Role),
}

/// A pattern that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPattern {
    /// It is not made of steps.
    #[error(
        "a pattern is written as a JSON pointer: it starts with `/`, and `#` goes into a string that holds JSON"
    )]
    Form,
    /// There are too many for one route.
    #[error("the patterns of one route have more than {most} steps", most = Patterns::MOST_STEPS)]
    TooMany,
}

impl Patterns {
    /// Steps of all patterns of a route, ends included.
    const MOST_STEPS: usize = 128;

    /// Adds a pattern. Where several match, the one that was added first counts.
    pub(crate) fn add(&mut self, pattern: &str, role: Role) -> Result<(), BadPattern> {
        let mut steps = Vec::new();
        for part in pattern.split('/').skip(1) {
            let mut names = part.split('#');
            match names.next().unwrap_or_default() {
                // `/a#/0`: nothing stands between the way into the string and the next step.
                "" => return Err(BadPattern::Form),
                "*" => steps.push(Step::Any),
                "**" => steps.push(Step::Deep),
                name => steps.push(Step::Named(name.replace("~1", "/").replace("~0", "~"))),
            }
            for name in names {
                if !name.is_empty() {
                    return Err(BadPattern::Form);
                }
                steps.push(Step::Inside);
            }
        }
        if !pattern.starts_with('/') || steps.is_empty() {
            return Err(BadPattern::Form);
        }
        steps.push(Step::End(role));
        if self.steps.len() + steps.len() > Self::MOST_STEPS {
            return Err(BadPattern::TooMany);
        }
        self.starts |= 1 << self.steps.len();
        self.steps.extend(steps);
        Ok(())
    }

    pub(crate) fn start(&self) -> States {
        States(self.settled(self.starts))
    }

    /// On to a member.
    pub(crate) fn step(&self, states: States, key: &str) -> States {
        self.moved(states, |step| match step {
            Step::Named(name) => name == key,
            Step::Any => true,
            _ => false,
        })
    }

    /// On to an item.
    pub(crate) fn item(&self, states: States, index: usize) -> States {
        self.moved(states, |step| match step {
            Step::Named(name) => name.parse() == Ok(index),
            Step::Any => true,
            _ => false,
        })
    }

    /// On into the JSON text that a string holds.
    pub(crate) fn inside(&self, states: States) -> States {
        self.moved(states, |step| *step == Step::Inside)
    }

    /// The role that a pattern which ends here gives.
    pub(crate) fn role(&self, states: States) -> Option<Role> {
        self.active(states).find_map(|at| match &self.steps[at] {
            Step::End(role) => Some(*role),
            _ => None,
        })
    }

    /// Whether a pattern names a member so.
    pub(crate) fn names(&self, key: &str) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Named(name) if name == key))
    }

    fn active(&self, states: States) -> impl Iterator<Item = usize> {
        (0..self.steps.len()).filter(move |at| states.0 & (1 << at) != 0)
    }

    fn moved(&self, states: States, matches: impl Fn(&Step) -> bool) -> States {
        let mut next = 0;
        for at in self.active(states) {
            if self.steps[at] == Step::Deep {
                next |= 1 << at;
            } else if matches(&self.steps[at]) {
                next |= 1 << (at + 1);
            }
        }
        States(self.settled(next))
    }

    /// With what follows each `**` that stands for no step.
    fn settled(&self, mut states: u128) -> u128 {
        for (at, step) in self.steps.iter().enumerate() {
            if *step == Step::Deep && states & (1 << at) != 0 {
                states |= 1 << (at + 1);
            }
        }
        states
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(patterns: &[(&str, Role)], way: &[&str]) -> Option<Role> {
        let mut all = Patterns::default();
        for (pattern, role) in patterns {
            all.add(pattern, *role).unwrap();
        }
        let mut states = all.start();
        for step in way {
            states = match step.parse() {
                Ok(index) => all.item(states, index),
                Err(_) if *step == "#" => all.inside(states),
                Err(_) => all.step(states, step),
            };
        }
        all.role(states)
    }

    #[test]
    fn steps_stand_for_what_they_say() {
        let patterns = [
            ("/messages/*/content/**", Role::User),
            ("/f.req#/1#/0/0", Role::System),
            ("/**/title", Role::Assistant),
            ("/a~1b", Role::ToolResult),
        ];
        for (way, expected) in [
            (&["messages", "3", "content"][..], Some(Role::User)),
            (&["messages", "3", "content", "parts", "0"], Some(Role::User)),
            (&["messages", "3", "content", "#", "a"], Some(Role::User)),
            (&["messages", "content"], None),
            (&["f.req", "#", "1", "#", "0", "0"], Some(Role::System)),
            (&["f.req", "#", "1", "0", "0"], None),
            (&["f.req", "#", "1", "#", "0", "1"], None),
            (&["x", "#", "y", "title"], Some(Role::Assistant)),
            (&["title"], Some(Role::Assistant)),
            (&["a/b"], Some(Role::ToolResult)),
            (&[], None),
        ] {
            assert_eq!(role(&patterns, way), expected, "{way:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["", "a", "/", "/a//b", "/a#b", "#"] {
            assert_eq!(
                Patterns::default().add(bad, Role::User),
                Err(BadPattern::Form),
                "{bad}"
            );
        }
        let long = "/a".repeat(128);
        assert_eq!(
            Patterns::default().add(&long, Role::User),
            Err(BadPattern::TooMany)
        );
    }
}
