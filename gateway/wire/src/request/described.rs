//! Whose words stand where in a described dialect: the patterns of its file, stepped along.
//!
//! What a pattern names has its role, and so has all below it. What no pattern names is no words of
//! anybody's ([`Role::Other`]), and a segment all the same.

use cordon_domain::Role;

use super::fields;
use crate::{
    Shape,
    json::{Position, Value},
    shape::{Patterns, States},
};

/// A position in a body of a described dialect.
#[derive(Clone, Copy)]
pub(crate) struct Described {
    patterns: &'static Patterns,
    states: States,
    role: Role,
}

impl Described {
    /// The outermost value of a request.
    pub(crate) fn request(shape: &'static Shape) -> Self {
        Self::start(&shape.request)
    }

    /// The outermost value of a reply, or of one of its events.
    pub(crate) fn reply(shape: &'static Shape) -> Self {
        Self::start(&shape.reply)
    }

    fn start(patterns: &'static Patterns) -> Self {
        let states = patterns.start();
        Self {
            patterns,
            states,
            role: patterns.role(states).unwrap_or(Role::Other),
        }
    }

    fn at(self, states: States) -> Self {
        Self {
            states,
            role: self.patterns.role(states).unwrap_or(self.role),
            ..self
        }
    }
}

impl Position for Described {
    fn enter(self, _object: Value<'_>) -> Self {
        self
    }

    fn member(self, key: &str) -> Self {
        self.at(self.patterns.step(self.states, key))
    }

    fn item(self, index: usize) -> Self {
        self.at(self.patterns.item(self.states, index))
    }

    fn inside(self) -> Self {
        self.at(self.patterns.inside(self.states))
    }

    fn role(self) -> Role {
        self.role
    }

    fn knows(self, key: &str) -> bool {
        fields::known(key) || self.patterns.names(key)
    }
}
