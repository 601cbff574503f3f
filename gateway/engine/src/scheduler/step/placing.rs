//! Which slot an ask gets, and what of its prompt need not be decoded again.
//!
//! A slot goes on from where its own conversation parted, or gets a copy of what another slot of the same account and adapter holds, or waits for
//! one that is reading the same beginning. `docs/decisions/0015` says why copies.

use super::{
    super::{
        Ask, Waiting,
        slot::{Follows, common},
    },
    Decoder, Slot, place_of,
};

/// Tokens that are worth copying from another slot, or waiting for, rather than decoding them again: a copy moves the whole of a
/// slot's memory, which takes as long as decoding a few dozen tokens.
const WORTH_COPYING: usize = 64;

impl Decoder<'_> {
    /// Chooses a slot: the one that holds most of the prompt's beginning, when using it throws away
    /// less than it saves; else the one idle longest, which gets a copy of what another holds.
    pub(super) fn place(&mut self, waiting: Waiting) {
        let ask = &waiting.ask;
        let free = || {
            self.slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| slot.work.is_none())
        };
        let held = |slot: &Slot| slot.shared_beginning(ask);
        let own = free()
            .filter(|(_, slot)| held(slot) * 2 >= slot.kept.len().max(1))
            .max_by_key(|(_, slot)| held(slot));
        let chosen = own
            .or_else(|| free().min_by_key(|(_, slot)| slot.idle_since))
            .map(|(index, _)| index);
        let Some(index) = chosen else {
            // `busy` counts slots with work, so a place was free; if ever not, the caller is told
            // by its closed channel.
            tracing::error!("an ask was admitted without a free slot");
            return;
        };
        let best = |of: fn(&Slot, &Ask) -> usize| {
            let others = self.slots.iter().enumerate().filter(|&(other, _)| other != index);
            others
                .map(|(other, slot)| (of(slot, ask), other))
                .max()
                .unwrap_or((0, index))
        };
        let here = held(&self.slots[index]);
        let (copied, from) = best(Slot::shared_beginning);
        let (coming, leader) = best(Slot::coming_beginning);
        // What another is about to have read is waited for, and copied once, whole.
        let leading = self.slots[leader].work.as_ref().map(|work| work.number);
        let follows = leading
            .filter(|_| coming > copied && coming >= here + WORTH_COPYING)
            .map(|number| Follows {
                slot: leader,
                number,
                shared: coming,
            });
        let copies = follows.is_none() && copied >= here + WORTH_COPYING;
        let cached = if copies && self.copy(from, index, copied) {
            copied
        } else if !copies && self.forget_after(index, here) {
            here
        } else {
            0
        };
        let length = self.layout.slot_length as usize;
        self.gauges
            .queue_seconds
            .observe(waiting.since.elapsed().as_secs_f64());
        self.begun += 1;
        let vocabulary = self.weights.vocabulary_size();
        self.slots[index].begin(waiting, self.begun, cached, follows, length, vocabulary);
    }

    /// Gives a sequence the first `count` tokens of another. `false` when that cannot be, and it is empty.
    fn copy(&mut self, from: usize, to: usize, count: usize) -> bool {
        let kept = self.slots[from].kept[..count].to_vec();
        self.forget_after(to, 0);
        let (Ok(source), Ok(target)) = (place_of(from), place_of(to)) else {
            return false;
        };
        // The whole sequence, as llama.cpp copies no part of one, and then less of it.
        if self.context.kv_cache_seq_pos_min(source) != 0
            || self
                .context
                .copy_kv_cache_seq(source, target, None, None)
                .is_err()
        {
            return false;
        }
        self.slots[to].kept = kept;
        self.forget_after(to, count)
    }

    /// Copies what prompts waited for, where it has been read. What it is waited for longer may have ended, too; then the rest is read here.
    pub(super) fn catch_up(&mut self) {
        for index in 0..self.slots.len() {
            let Some(work) = &self.slots[index].work else {
                continue;
            };
            let Some(Follows { slot, number, shared }) = work.follows else {
                continue;
            };
            let leader = &self.slots[slot];
            let own = &self.slots[index];
            let is_same = leader.salt == own.salt && leader.adapter == own.adapter;
            let there = if is_same {
                common(&leader.kept, &work.prompt).min(shared)
            } else {
                0
            };
            let still_reads = leader
                .work
                .as_ref()
                .is_some_and(|theirs| theirs.number == number && theirs.next.is_none());
            if there < shared && is_same && still_reads {
                continue;
            }
            let own = self.slots[index].kept.len();
            let copied = there >= own + WORTH_COPYING;
            let cached = match copied {
                true if self.copy(slot, index, there) => there,
                true => 0,
                false => own,
            };
            if let Some(work) = &mut self.slots[index].work {
                work.follows = None;
                work.usage.cached = cached;
            }
        }
    }

    /// Leaves the first `keep` tokens in a sequence. `false` when all had to go: some models keep
    /// state that cannot be cut, or have already let go of the beginning.
    fn forget_after(&mut self, index: usize, keep: usize) -> bool {
        let sequence = u32::try_from(index).unwrap_or(u32::MAX);
        let whole = keep > 0 && self.context.kv_cache_seq_pos_min(sequence.cast_signed()) == 0;
        let from = u32::try_from(keep).ok().filter(|_| whole);
        if from.is_some()
            && matches!(
                self.context.clear_kv_cache_seq(Some(sequence), from, None),
                Ok(true)
            )
        {
            return true;
        }
        // Removing a whole sequence always succeeds.
        let _ = self.context.clear_kv_cache_seq(Some(sequence), None, None);
        self.slots[index].kept.clear();
        false
    }
}
