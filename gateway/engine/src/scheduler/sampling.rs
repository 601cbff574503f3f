//! How the next token is chosen.

use llama_cpp_2::{
    context::LlamaContext,
    sampling::LlamaSampler,
    token::{LlamaToken, logit_bias::LlamaLogitBias},
};

/// Tokens back that penalties look at.
const PENALTY_REACH: i32 = 1024;

/// What a request asks of the choice. Ranges are checked by [`crate::chat`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampling {
    /// 0 takes the likeliest token.
    pub(crate) temperature: f32,
    pub(crate) top_p: f32,
    /// 0 considers all tokens.
    pub(crate) top_k: i32,
    pub(crate) min_p: f32,
    pub(crate) frequency_penalty: f32,
    pub(crate) presence_penalty: f32,
    pub(crate) seed: u32,
    pub(crate) bias: Vec<(i32, f32)>,
}

impl Default for Sampling {
    /// llama.cpp's own defaults, which suit small models better than OpenAI's temperature of 1.
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_p: 0.95,
            top_k: 40,
            min_p: 0.05,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: 0,
            bias: Vec::new(),
        }
    }
}

/// Chooses tokens for one answer.
pub(super) enum Chooser {
    /// The likeliest token, found without copying the vocabulary.
    Likeliest,
    Chain(LlamaSampler),
}

impl Chooser {
    pub(super) fn new(sampling: &Sampling, vocabulary: i32) -> Self {
        let likeliest = sampling.temperature <= 0.0;
        let mut chain = Vec::new();
        if !sampling.bias.is_empty() {
            let bias: Vec<_> = sampling
                .bias
                .iter()
                .map(|&(token, by)| LlamaLogitBias::new(LlamaToken(token), by))
                .collect();
            chain.push(LlamaSampler::logit_bias(vocabulary, &bias));
        }
        if sampling.frequency_penalty != 0.0 || sampling.presence_penalty != 0.0 {
            chain.push(LlamaSampler::penalties(
                vocabulary,
                PENALTY_REACH,
                1.0,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            ));
        }
        if likeliest {
            if chain.is_empty() {
                return Self::Likeliest;
            }
            chain.push(LlamaSampler::greedy());
            return Self::Chain(LlamaSampler::chain(chain, true));
        }
        if sampling.top_k > 0 {
            chain.push(LlamaSampler::top_k(sampling.top_k));
        }
        if sampling.top_p < 1.0 {
            chain.push(LlamaSampler::top_p(sampling.top_p, 1));
        }
        if sampling.min_p > 0.0 {
            chain.push(LlamaSampler::min_p(sampling.min_p, 1));
        }
        chain.push(LlamaSampler::temp(sampling.temperature));
        chain.push(LlamaSampler::dist(sampling.seed));
        Self::Chain(LlamaSampler::chain(chain, true))
    }

    /// The next token after the batch's entry `at`, which must have asked for logits.
    pub(super) fn choose(&mut self, context: &LlamaContext<'_>, at: i32) -> LlamaToken {
        match self {
            Self::Likeliest => likeliest(context.get_logits_ith(at)),
            // This also tells the chain what was chosen.
            Self::Chain(chain) => chain.sample(context, at),
        }
    }
}

/// The first of the highest. A number that is none (a fault in the weights) is never the highest.
pub(crate) fn likeliest(logits: &[f32]) -> LlamaToken {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (index, logit);
        }
    }
    LlamaToken(i32::try_from(best.0).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_highest_is_taken_and_nan_never() {
        assert_eq!(likeliest(&[f32::NAN, 1.0, 3.0, 3.0]).0, 2);
        assert_eq!(likeliest(&[]).0, 0);
    }
}
