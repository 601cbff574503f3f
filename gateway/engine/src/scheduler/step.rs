//! The decode thread: admits asks to slots, builds steps, decodes them, hands out what was chosen.

mod placing;

use std::{sync::PoisonError, sync::mpsc::Sender, time::Instant};

use llama_cpp_2::{
    context::{
        LlamaContext,
        params::{KvCacheType, LlamaContextParams},
    },
    llama_batch::LlamaBatch,
    token::LlamaToken,
};

use super::{End, FAULTS_IN_A_ROW, Layout, Likelihood, Odds, Shared, sampling::Choice, slot::Slot};
use crate::{args::Keeping, gauges::Gauges, weights::Weights};

/// Prompt tokens in a step when nobody's answer is under way. Larger gains little, and a caller who
/// leaves is noticed between steps.
const QUIET_CHUNK: u32 = 256;

/// Steps that an adapter has before another's turn: setting one makes llama.cpp plan its work anew.
const STEPS_OF_AN_ADAPTER: u32 = 8;

/// The body of the decode thread. `false` when it did not begin, which was told by `ready`.
pub(super) fn run(
    weights: &Weights,
    layout: Layout,
    shared: &Shared,
    gauges: &Gauges,
    ready: &Sender<anyhow::Result<()>>,
) -> bool {
    let mut decoder = match Decoder::open(weights, layout, shared, gauges) {
        Ok(decoder) => decoder,
        Err(error) => {
            let _ = ready.send(Err(error));
            return false;
        }
    };
    if ready.send(Ok(())).is_err() {
        return false;
    }
    let mut faults = 0;
    while decoder.admit() {
        match decoder.step() {
            Ok(()) => faults = 0,
            Err(error) => {
                faults += 1;
                tracing::error!(%error, faults, "a step failed; its conversations end here");
                decoder.abandon_all();
                if faults >= FAULTS_IN_A_ROW {
                    break;
                }
            }
        }
    }
    true
}

/// Context parameters for a layout: each sequence has room of its own, which decodes unrelated
/// conversations much faster than one shared room (198 against 120 tokens a second at 16).
pub(crate) fn context_params(layout: &Layout) -> LlamaContextParams {
    let batch = batch_length(layout);
    // llama.cpp rounds a sequence's room up to this; asking for it makes the sum come out right.
    let room = layout.slot_length.next_multiple_of(256);
    let threads = i32::try_from(layout.threads).unwrap_or(i32::MAX);
    let kv = match layout.kv {
        Keeping::F16 => KvCacheType::F16,
        Keeping::Q8_0 => KvCacheType::Q8_0,
        Keeping::Q4_0 => KvCacheType::Q4_0,
    };
    LlamaContextParams::default()
        .with_type_k(kv)
        .with_type_v(kv)
        .with_n_ctx(std::num::NonZeroU32::new(room.saturating_mul(layout.slots)))
        .with_n_seq_max(layout.slots)
        .with_kv_unified(false)
        .with_n_batch(batch)
        .with_n_ubatch(batch.min(512))
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_no_perf(true)
}

fn batch_length(layout: &Layout) -> u32 {
    layout.slots + layout.chunk.max(QUIET_CHUNK)
}

struct Decoder<'w> {
    weights: &'w Weights,
    layout: Layout,
    shared: &'w Shared,
    gauges: &'w Gauges,
    context: LlamaContext<'w>,
    batch: LlamaBatch<'static>,
    slots: Vec<Slot>,
    steps: u64,
    /// Answers begun so far.
    begun: u64,
    /// The adapter that is set, and for how many steps more it stays while others wait.
    adapter: (Option<usize>, u32),
    speed: Speed,
}

/// What a step decodes for one slot.
struct Part {
    slot: usize,
    tokens: usize,
    /// The batch's entry to choose the next token from, if the slot has come that far.
    choose_at: Option<i32>,
}

impl<'w> Decoder<'w> {
    fn open(
        weights: &'w Weights,
        layout: Layout,
        shared: &'w Shared,
        gauges: &'w Gauges,
    ) -> anyhow::Result<Self> {
        let context = weights.open(context_params(&layout))?;
        let mut decoder = Self {
            weights,
            layout,
            shared,
            gauges,
            context,
            batch: LlamaBatch::new(batch_length(&layout) as usize, 1),
            slots: (0..layout.slots).map(|_| Slot::empty()).collect(),
            steps: 0,
            begun: 0,
            adapter: (None, 0),
            speed: Speed {
                since: Instant::now(),
                tokens: 0,
            },
        };
        // Brings the weights into memory, so that the first caller does not wait for the disk.
        decoder.batch.add(LlamaToken(0), 0, &[0], true)?;
        decoder.context.decode(&mut decoder.batch)?;
        decoder.context.clear_kv_cache();
        Ok(decoder)
    }

    /// Waits for work, gives waiting asks to free slots. `false` when it is time to stop.
    fn admit(&mut self) -> bool {
        let mut admitted = Vec::new();
        {
            let mut state = self.shared.lock();
            loop {
                if state.stopping {
                    return false;
                }
                for slot in &mut self.slots {
                    if let Some(work) = &mut slot.work {
                        let (prompt, answer) = std::mem::take(&mut work.uncharged);
                        state.turns.charge(&slot.salt, prompt, answer);
                    }
                }
                if !state.waiting.is_empty() {
                    state.tidy(self.layout.wait, Instant::now());
                }
                while state.busy < self.slots.len()
                    && let Some(waiting) = state.next(self.slots.len())
                {
                    admitted.push(waiting);
                }
                self.gauges
                    .waiting
                    .set(i64::try_from(state.waiting.len()).unwrap_or(i64::MAX));
                self.gauges
                    .busy
                    .set(i64::try_from(state.busy).unwrap_or(i64::MAX));
                state.slots.clear();
                state.slots.extend(self.slots.iter().map(Slot::seen));
                if state.busy > 0 {
                    state.step_began = Some(Instant::now());
                    break;
                }
                state.step_began = None;
                state.pace.pause();
                self.speed.pause(self.gauges);
                state = self
                    .shared
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                self.speed.since = Instant::now();
            }
        }
        for waiting in admitted {
            self.place(waiting);
        }
        true
    }

    /// Decodes one step and hands out what was chosen.
    fn step(&mut self) -> anyhow::Result<()> {
        self.sweep();
        self.catch_up();
        self.choose_adapter()?;
        let parts = self.fill()?;
        if parts.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        self.context.decode(&mut self.batch)?;
        self.steps += 1;
        for part in &parts {
            self.settle(part);
        }
        self.gauges.step_seconds.observe(begun.elapsed().as_secs_f64());
        self.gauges.set_kept(
            self.slots.iter().map(|slot| slot.kept.len()).sum(),
            self.capacity(),
        );
        self.speed.tell(self.gauges);
        Ok(())
    }

    /// Frees the slots whose callers have left.
    fn sweep(&mut self) {
        for index in 0..self.slots.len() {
            if self.slots[index].abandoned() {
                self.release(index, "left");
            }
        }
    }

    /// A step decodes with one adapter. Where conversations of several are under way, each has its turn of some steps.
    fn choose_adapter(&mut self) -> anyhow::Result<()> {
        let (set, steps) = self.adapter;
        let wants = |adapter: Option<usize>| {
            self.slots
                .iter()
                .any(|slot| slot.adapter == adapter && (slot.next().is_some() || slot.unread() > 0))
        };
        if steps > 0 && wants(set) {
            self.adapter.1 -= 1;
            return Ok(());
        }
        let adapters = self.weights.adapters();
        // In a circle, beginning behind the one that is set; `None` has the place 0.
        let place = |adapter: Option<usize>| adapter.map_or(0, |index| index + 1);
        let circle = (1..=adapters + 1).map(|by| (place(set) + by) % (adapters + 1));
        let next = circle
            .map(|place| place.checked_sub(1))
            .find(|&adapter| wants(adapter));
        let Some(next) = next else { return Ok(()) };
        if next != set {
            self.weights.adapt(&mut self.context, next)?;
        }
        self.adapter = (next, STEPS_OF_AN_ADAPTER);
        Ok(())
    }

    /// Puts answers and prompts into the batch.
    fn fill(&mut self) -> anyhow::Result<Vec<Part>> {
        self.batch.clear();
        let mut parts = Vec::with_capacity(self.slots.len());
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.adapter != self.adapter.0 {
                continue;
            }
            let Some(token) = slot.next() else { continue };
            let at = self.batch.n_tokens();
            self.batch
                .add(token, place_of(slot.kept.len())?, &[place_of(index)?], true)?;
            parts.push(Part {
                slot: index,
                tokens: 1,
                choose_at: Some(at),
            });
        }
        let room = if parts.is_empty() {
            self.layout.chunk.max(QUIET_CHUNK)
        } else {
            self.layout.chunk
        };
        let mut reading: Vec<usize> = (0..self.slots.len())
            .filter(|&index| self.slots[index].unread() > 0 && self.slots[index].adapter == self.adapter.0)
            .collect();
        reading.sort_by_key(|&index| self.slots[index].work.as_ref().map(|work| work.times.asked));
        let unread: Vec<usize> = reading.iter().map(|&index| self.slots[index].unread()).collect();
        for (&index, share) in reading.iter().zip(share_out(&unread, room as usize)) {
            let slot = &self.slots[index];
            let Some(work) = &slot.work else { continue };
            if share == 0 {
                continue;
            }
            let from = slot.kept.len();
            let completes = from + share == work.prompt.len();
            for (offset, &token) in work.prompt[from..from + share].iter().enumerate() {
                let last = completes && offset + 1 == share;
                self.batch
                    .add(token, place_of(from + offset)?, &[place_of(index)?], last)?;
            }
            let choose_at = completes.then(|| self.batch.n_tokens() - 1);
            parts.push(Part {
                slot: index,
                tokens: share,
                choose_at,
            });
        }
        Ok(parts)
    }

    /// After a good decode: notes what the slot holds now, and chooses its next token.
    fn settle(&mut self, part: &Part) {
        let slot = &mut self.slots[part.slot];
        let Some(work) = &mut slot.work else { return };
        match work.next.take() {
            Some(token) => slot.kept.push(token),
            None => {
                let from = slot.kept.len();
                slot.kept
                    .extend_from_slice(&work.prompt[from..from + part.tokens]);
                work.uncharged.0 += part.tokens as u64;
                self.gauges.prompt_tokens.inc_by(part.tokens as u64);
            }
        }
        let Some(at) = part.choose_at else { return };
        let Choice {
            token,
            logprob,
            likeliest,
        } = match work.chooser.choose(&self.context, at) {
            Ok(choice) => choice,
            Err(error) => {
                tracing::warn!(%error, "an answer ends here");
                self.release(part.slot, "failed");
                return;
            }
        };
        let ends = self.weights.ends_answer(token);
        let mut bytes = Vec::new();
        if !ends {
            self.weights.piece(token, &mut bytes);
        }
        if work.chooser.reports() && !ends {
            let told = |(token, logprob)| {
                let mut bytes = Vec::new();
                self.weights.piece(token, &mut bytes);
                Likelihood { bytes, logprob }
            };
            work.odds.push(Odds {
                chosen: Likelihood {
                    bytes: bytes.clone(),
                    logprob,
                },
                likeliest: likeliest.into_iter().map(told).collect(),
            });
        }
        let now = Instant::now();
        let (since, seconds) = match work.times.first_token {
            None => (work.times.asked, &self.gauges.first_token_seconds),
            Some(_) => (work.times.last_token, &self.gauges.between_tokens_seconds),
        };
        seconds.observe((now - since).as_secs_f64());
        work.times.last_token = now;
        self.gauges.answer_tokens.inc();
        self.speed.tokens += 1;
        if let Some(end) = work.take(token, ends, &bytes) {
            work.finish(end);
            self.release(part.slot, if end == End::Stop { "stop" } else { "length" });
        }
    }

    /// Ends an answer, keeping what the slot holds for a conversation that goes on from there.
    fn release(&mut self, index: usize, outcome: &str) {
        let Some(work) = self.slots[index].work.take() else {
            return;
        };
        self.slots[index].idle_since = self.steps;
        let busy = {
            let mut state = self.shared.lock();
            let (prompt, answer) = work.uncharged;
            state.turns.charge(&self.slots[index].salt, prompt, answer);
            state.turns.leave(&self.slots[index].salt, true);
            state.pace.ended(Instant::now());
            state.busy = state.busy.saturating_sub(1);
            state.busy
        };
        self.gauges.busy.set(i64::try_from(busy).unwrap_or(i64::MAX));
        self.gauges.answers.with_label_values(&[outcome]).inc();
        self.gauges.cached_tokens.inc_by(work.usage.cached as u64);
        let milliseconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_millis();
        let times = &work.times;
        tracing::info!(
            exchange = work.exchange.map(tracing::field::display),
            outcome,
            prompt = work.usage.prompt,
            cached = work.usage.cached,
            answer = work.usage.answer,
            queue_ms = milliseconds(times.asked, times.admitted),
            first_token_ms = times.first_token.map(|first| milliseconds(times.asked, first)),
            total_ms = milliseconds(times.asked, Instant::now()),
            "answered"
        );
    }

    /// Fails every answer in progress and empties the context.
    fn abandon_all(&mut self) {
        for index in 0..self.slots.len() {
            self.release(index, "failed");
            self.slots[index].kept.clear();
        }
        self.context.clear_kv_cache();
    }

    fn capacity(&self) -> usize {
        self.layout.slots as usize * self.layout.slot_length as usize
    }
}

/// A count as llama.cpp's integer.
fn place_of(count: usize) -> anyhow::Result<i32> {
    Ok(i32::try_from(count)?)
}

/// Shares the step's room among prompts, given oldest first by what is unread of each. Half goes to
/// the oldest, so that nobody waits for ever; the rest to the shortest, so that a quick question
/// need not wait for a long document.
fn share_out(unread: &[usize], room: usize) -> Vec<usize> {
    let mut shares = vec![0; unread.len()];
    let Some(&oldest) = unread.first() else {
        return shares;
    };
    shares[0] = oldest.min(room.div_ceil(2));
    let mut left = room - shares[0];
    let mut shortest_first: Vec<usize> = (0..unread.len()).collect();
    shortest_first.sort_by_key(|&index| unread[index]);
    for index in shortest_first {
        let more = (unread[index] - shares[index]).min(left);
        shares[index] += more;
        left -= more;
    }
    shares
}

/// Answer tokens a second, over spans of about a second.
struct Speed {
    since: Instant,
    tokens: u32,
}

impl Speed {
    fn tell(&mut self, gauges: &Gauges) {
        let span = self.since.elapsed().as_secs_f64();
        if span >= 1.0 {
            gauges.speed.set(f64::from(self.tokens) / span);
            *self = Self {
                since: Instant::now(),
                tokens: 0,
            };
        }
    }

    fn pause(&mut self, gauges: &Gauges) {
        gauges.speed.set(0.0);
        self.tokens = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_prompt_shares_with_short_ones_and_takes_what_they_leave() {
        assert_eq!(share_out(&[1000], 64), [64]);
        assert_eq!(share_out(&[1000, 10], 64), [54, 10]);
        assert_eq!(share_out(&[1000, 500, 20], 64), [32, 12, 20]);
        assert_eq!(share_out(&[], 64), [0_usize; 0]);
    }

    proptest! {
        #[test]
        fn room_is_used_up_but_never_exceeded(unread in prop::collection::vec(1_usize..600, 1..9), room in 8_usize..300) {
            let shares = share_out(&unread, room);
            prop_assert_eq!(shares.iter().sum::<usize>(), room.min(unread.iter().sum()));
            prop_assert!(shares.iter().zip(&unread).all(|(share, unread)| share <= unread));
            prop_assert!(shares[0] > 0);
        }
    }
}
