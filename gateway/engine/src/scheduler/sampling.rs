//! How the next token is chosen.
//!
//! Where the answer has a form, all that the form does not allow is left out first, and what is told
//! of probabilities is told of the rest: before temperature and penalties, as the model has it.

use llama_cpp_2::{
    context::LlamaContext,
    sampling::LlamaSampler,
    token::{LlamaToken, data::LlamaTokenData, data_array::LlamaTokenDataArray, logit_bias::LlamaLogitBias},
};

use crate::form::{Form, FormFailed};

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
    /// Tokens that are never chosen, in rising order.
    pub(crate) never: Vec<i32>,
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
            never: Vec::new(),
        }
    }
}

/// Chooses tokens for one answer.
pub(super) struct Chooser {
    order: Order,
    form: Option<Form>,
    report: Option<usize>,
}

/// What was chosen.
pub(super) struct Choice {
    pub(super) token: LlamaToken,
    /// The logarithm of its probability, where that is to be told.
    pub(super) logprob: f32,
    /// The likeliest in its place, where they are to be told.
    pub(super) likeliest: Vec<(LlamaToken, f32)>,
}

impl Chooser {
    pub(super) fn new(
        sampling: &Sampling,
        form: Option<Form>,
        report: Option<usize>,
        vocabulary: i32,
    ) -> Self {
        Self {
            order: Order::new(sampling, vocabulary),
            form,
            report,
        }
    }

    /// Whether probabilities are to be told.
    pub(super) fn reports(&self) -> bool {
        self.report.is_some()
    }

    /// Whether the answer has its form and nothing may follow.
    pub(super) fn is_complete(&self) -> bool {
        self.form.as_ref().is_some_and(Form::is_complete)
    }

    /// The next token after the batch's entry `at`, which must have asked for logits.
    pub(super) fn choose(&mut self, context: &LlamaContext<'_>, at: i32) -> Result<Choice, FormFailed> {
        if self.form.is_none() && self.report.is_none() {
            return Ok(Choice {
                token: self.order.choose(context, at),
                logprob: 0.0,
                likeliest: Vec::new(),
            });
        }
        let logits = (0_i32..).zip(context.get_logits_ith(at).iter().copied());
        let candidates: Vec<(i32, f32)> = match &mut self.form {
            Some(form) => {
                let allowed = form.allowed()?;
                logits
                    .filter(|(token, _)| allowed.is_allowed(token.cast_unsigned()))
                    .collect()
            }
            None => logits.collect(),
        };
        let token = self.order.choose_among(&candidates).ok_or(FormFailed)?;
        if let Some(form) = &mut self.form {
            form.take(token)?;
        }
        let (logprob, likeliest) = match self.report {
            Some(others) => probabilities(&candidates, token, others),
            None => (0.0, Vec::new()),
        };
        Ok(Choice {
            token,
            logprob,
            likeliest,
        })
    }
}

/// The logarithm of a candidate's probability among all, and the likeliest with theirs.
fn probabilities(
    candidates: &[(i32, f32)],
    chosen: LlamaToken,
    others: usize,
) -> (f32, Vec<(LlamaToken, f32)>) {
    let highest = candidates
        .iter()
        .map(|&(_, logit)| logit)
        .fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = candidates
        .iter()
        .map(|&(_, logit)| f64::from(logit - highest).exp())
        .filter(|weight| weight.is_finite())
        .sum();
    let logprob = |logit: f32| logit - highest - sum.ln() as f32;
    let own = candidates
        .iter()
        .find(|(token, _)| *token == chosen.0)
        .map_or(f32::NEG_INFINITY, |&(_, logit)| logprob(logit));
    let mut likeliest = candidates.to_vec();
    let order = |a: &(i32, f32), b: &(i32, f32)| b.1.total_cmp(&a.1);
    if others < likeliest.len() {
        likeliest.select_nth_unstable_by(others, order);
        likeliest.truncate(others);
    }
    likeliest.sort_unstable_by(order);
    let likeliest = likeliest
        .into_iter()
        .map(|(token, logit)| (LlamaToken(token), logprob(logit)))
        .collect();
    (own, likeliest)
}

/// In what order tokens are preferred.
enum Order {
    /// The likeliest token but these, found without copying the vocabulary.
    Likeliest(Vec<i32>),
    Chain(LlamaSampler),
}

impl Order {
    fn new(sampling: &Sampling, vocabulary: i32) -> Self {
        let likeliest = sampling.temperature <= 0.0;
        let mut chain = Vec::new();
        let penalises = sampling.frequency_penalty != 0.0 || sampling.presence_penalty != 0.0;
        if likeliest && sampling.bias.is_empty() && !penalises {
            return Self::Likeliest(sampling.never.clone());
        }
        if !sampling.bias.is_empty() || !sampling.never.is_empty() {
            let never = sampling.never.iter().map(|&token| (token, f32::NEG_INFINITY));
            let bias: Vec<_> = sampling
                .bias
                .iter()
                .copied()
                .chain(never)
                .map(|(token, by)| LlamaLogitBias::new(LlamaToken(token), by))
                .collect();
            chain.push(LlamaSampler::logit_bias(vocabulary, &bias));
        }
        if penalises {
            chain.push(LlamaSampler::penalties(
                vocabulary,
                PENALTY_REACH,
                1.0,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            ));
        }
        if likeliest {
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

    fn choose(&mut self, context: &LlamaContext<'_>, at: i32) -> LlamaToken {
        match self {
            Self::Likeliest(never) => likeliest_but(context.get_logits_ith(at), never),
            // This also tells the chain what was chosen.
            Self::Chain(chain) => chain.sample(context, at),
        }
    }

    fn choose_among(&mut self, candidates: &[(i32, f32)]) -> Option<LlamaToken> {
        match self {
            Self::Likeliest(never) => candidates
                .iter()
                .filter(|(token, logit)| !logit.is_nan() && never.binary_search(token).is_err())
                .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
                .map(|&(token, _)| LlamaToken(token)),
            Self::Chain(chain) => {
                let mut left = LlamaTokenDataArray::from_iter(
                    candidates
                        .iter()
                        .map(|&(token, logit)| LlamaTokenData::new(LlamaToken(token), logit, 0.0)),
                    false,
                );
                if left.data.is_empty() {
                    return None;
                }
                chain.apply(&mut left);
                let token = left.selected_token()?;
                chain.accept(token);
                Some(token)
            }
        }
    }
}

/// The first of the highest. A number that is none (a fault in the weights) is never the highest.
pub(crate) fn likeliest(logits: &[f32]) -> LlamaToken {
    likeliest_but(logits, &[])
}

/// The first of the highest that is not among `never`, which are in rising order.
fn likeliest_but(logits: &[f32], never: &[i32]) -> LlamaToken {
    let mut best = (0, f32::NEG_INFINITY);
    let mut from = 0;
    let ends = never.iter().map(|&token| usize::try_from(token).unwrap_or(0));
    // What lies between those left out is searched as it stands, without a question at each.
    for end in ends.chain([logits.len()]) {
        for (index, &logit) in (from..).zip(logits.get(from..end).unwrap_or_default()) {
            if logit > best.1 {
                best = (index, logit);
            }
        }
        from = end + 1;
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
        let logits = [9.0, 1.0, 3.0, 8.0, 7.0];
        assert_eq!(likeliest_but(&logits, &[0, 3]).0, 4);
        assert_eq!(likeliest_but(&logits, &[0, 3, 4]).0, 2);
        assert_eq!(likeliest_but(&logits, &[0, 1, 2, 4]).0, 3);
        let among = |candidates: &[(i32, f32)]| Order::Likeliest(vec![10]).choose_among(candidates);
        assert_eq!(among(&[(8, 1.0), (10, 2.0)]), Some(LlamaToken(8)));
        assert_eq!(among(&[(7, f32::NAN), (8, 1.0), (9, 1.0)]), Some(LlamaToken(8)));
        assert_eq!(among(&[]), None);
    }

    #[test]
    fn probabilities_are_those_among_the_candidates() {
        let half = 0.5_f32.ln();
        let (own, likeliest) = probabilities(&[(1, 3.0), (5, f32::NEG_INFINITY), (9, 3.0)], LlamaToken(9), 1);
        assert!((own - half).abs() < 1e-6);
        assert_eq!(likeliest.len(), 1);
        assert!((likeliest[0].1 - half).abs() < 1e-6);
        let (_, all) = probabilities(&[(1, 0.0), (2, 5.0)], LlamaToken(1), 20);
        assert_eq!(all.iter().map(|(token, _)| token.0).collect::<Vec<_>>(), [2, 1]);
    }
}
