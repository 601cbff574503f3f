//! Whose ask is next: the account that has been served least.
//!
//! Each account (the salt that the gateway sends for an actor) has a count of the tokens that were decoded for it, an answer's token
//! weighing more than a prompt's, since it takes a step of its own. Whoever comes while others are at work begins at the least of their
//! counts, and never behind what each has been served on the average, so that nobody saves up turns by staying away, and many who come and go keep nobody waiting for ever. This is the virtual token counter of Sheng et al., "Fairness in Serving Large Language
//! Models" (OSDI 2024). Asks without a salt share one account, and wait for one another in the order they came.
//!
//! Limits: counts are kept for the accounts that have something waiting or in a slot.

use std::collections::HashMap;

/// Whom an ask is counted to.
pub(super) type Account = Option<String>;

/// What a token of an answer weighs beside a token of a prompt.
const ANSWER_WEIGHT: u64 = 4;

/// How much each account has been served.
#[derive(Debug, Default)]
pub(super) struct Turns {
    accounts: HashMap<Account, Turn>,
    /// What each account that was there has been served on the average.
    average: u64,
}

#[derive(Debug)]
struct Turn {
    served: u64,
    /// Asks that wait or are being answered.
    asks: usize,
    /// Of them, those in slots.
    in_slots: usize,
}

impl Turns {
    /// An ask comes.
    pub(super) fn arrive(&mut self, account: &Account) {
        let least = self.accounts.values().map(|turn| turn.served).min().unwrap_or(0);
        let turn = self.accounts.entry(account.clone()).or_insert(Turn {
            served: least.max(self.average),
            asks: 0,
            in_slots: 0,
        });
        turn.asks += 1;
    }

    /// An ask gets a slot.
    pub(super) fn begin(&mut self, account: &Account) {
        if let Some(turn) = self.accounts.get_mut(account) {
            turn.in_slots += 1;
        }
    }

    /// Tokens were decoded for it.
    pub(super) fn charge(&mut self, account: &Account, prompt: u64, answer: u64) {
        let there = self.accounts.len() as u64;
        if let Some(turn) = self.accounts.get_mut(account) {
            let cost = prompt + ANSWER_WEIGHT * answer;
            turn.served += cost;
            self.average += cost / there;
        }
    }

    /// An ask leaves, out of a slot or out of the queue.
    pub(super) fn leave(&mut self, account: &Account, had_slot: bool) {
        let Some(turn) = self.accounts.get_mut(account) else {
            return;
        };
        turn.asks = turn.asks.saturating_sub(1);
        turn.in_slots = turn.in_slots.saturating_sub(usize::from(had_slot));
        if turn.asks == 0 {
            self.accounts.remove(account);
        }
    }

    /// Asks of the account that wait.
    pub(super) fn waiting(&self, account: &Account) -> usize {
        self.accounts
            .get(account)
            .map_or(0, |turn| turn.asks - turn.in_slots)
    }

    /// Of asks in the order they came, the one whose turn it is; none when nobody's account may take a slot more. Nobody who is known takes the last
    /// quarter of the slots, so that somebody else's short question finds one free.
    pub(super) fn next<'a>(&self, waiting: impl Iterator<Item = &'a Account>, slots: usize) -> Option<usize> {
        let most = slots - (slots / 4).max(usize::from(slots > 1));
        waiting
            .enumerate()
            .filter_map(|(index, account)| {
                let turn = self.accounts.get(account)?;
                (account.is_none() || turn.in_slots < most).then_some((turn.served, index))
            })
            .min()
            .map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> Account {
        Some(name.to_owned())
    }

    /// Gives slots out until all that wait have had one, each ask taking as many prompt tokens as it says.
    fn order(asks: &[(&str, u64)], slots: usize) -> Vec<String> {
        let mut turns = Turns::default();
        let mut waiting: Vec<(Account, u64)> = asks
            .iter()
            .map(|&(name, tokens)| (account(name), tokens))
            .collect();
        for (account, _) in &waiting {
            turns.arrive(account);
        }
        let mut order = Vec::new();
        while let Some(index) = turns.next(waiting.iter().map(|(account, _)| account), slots) {
            let (account, tokens) = waiting.remove(index);
            turns.begin(&account);
            turns.charge(&account, tokens, 0);
            turns.leave(&account, true);
            order.extend(account);
        }
        assert!(waiting.is_empty());
        order
    }

    #[test]
    fn who_asks_much_waits_for_who_asks_little() {
        let order = order(
            &[
                ("agent", 9000),
                ("agent", 9000),
                ("agent", 9000),
                ("chat", 50),
                ("chat", 50),
            ],
            4,
        );
        assert_eq!(order, ["agent", "chat", "chat", "agent", "agent"]);
    }

    #[test]
    fn who_comes_late_has_saved_up_nothing() {
        let mut turns = Turns::default();
        turns.arrive(&account("early"));
        turns.charge(&account("early"), 0, 1000);
        turns.arrive(&account("late"));
        turns.charge(&account("late"), 1, 0);
        let both = [account("late"), account("early")];
        assert_eq!(turns.next(both.iter(), 4), Some(1), "4,000 against 4,001");
        // Whoever comes and goes all the time does not keep the one who waits behind.
        for number in 0..100 {
            let passing = account(&number.to_string());
            turns.arrive(&passing);
            turns.charge(&passing, 400, 0);
            turns.leave(&passing, false);
        }
        turns.arrive(&account("next"));
        let both = [account("next"), account("late")];
        assert_eq!(turns.next(both.iter(), 4), Some(1));
        turns.leave(&account("next"), false);
        turns.leave(&account("late"), false);
        turns.leave(&account("early"), false);
        assert!(turns.accounts.is_empty());
    }

    #[test]
    fn a_slot_stays_free_for_somebody_else() {
        let mut turns = Turns::default();
        for _ in 0..4 {
            turns.arrive(&account("agent"));
        }
        for _ in 0..3 {
            turns.begin(&account("agent"));
        }
        let agent = [account("agent")];
        assert_eq!(turns.next(agent.iter(), 4), None);
        assert_eq!(turns.waiting(&account("agent")), 1);
        turns.arrive(&account("chat"));
        let both = [account("agent"), account("chat")];
        assert_eq!(turns.next(both.iter(), 4), Some(1));
        // With a single slot there is nothing to keep free.
        let mut alone = Turns::default();
        alone.arrive(&account("agent"));
        assert_eq!(alone.next(agent.iter(), 1), Some(0));
        // Nobody in particular may take all.
        let mut nobody = Turns::default();
        nobody.arrive(&None);
        nobody.begin(&None);
        nobody.begin(&None);
        assert_eq!(nobody.next([None].iter(), 2), Some(0));
    }
}
