//! The engine as its callers meet it: the real program, the real weights, over its socket.
//!
//! Needs `SmolLM2-135M-Instruct.Q4_1.gguf` (`make weights`, or `CORDON_TEST_WEIGHTS=FILE`).

#[cfg(test)]
mod running;

#[cfg(test)]
mod adapters;
#[cfg(test)]
mod answers;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod lifetime;
#[cfg(test)]
mod refusals;
