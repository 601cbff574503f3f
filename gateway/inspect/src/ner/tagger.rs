//! A token classifier: a graph that gives each token the odds of each label.

use std::{ops::Range, time::Instant};

use ort::{
    inputs,
    session::{Session, SessionInputValue},
    value::Tensor,
};
use tokenizers::Tokenizer;

use super::{
    Mention, Missed,
    gather::{Judged, gather, likeliest},
    kind::Labels,
    runtime::Pool,
    windows::{self, windows},
};

/// A token classifier's labels and marks.
pub(super) struct Tagger {
    labels: Labels,
    /// The tokens that begin and end what it reads.
    begin: i64,
    end: i64,
    /// Whether the graph wants to know which of two texts a token is of.
    token_types: bool,
}

impl Tagger {
    pub(super) fn new(labels: Labels, marks: [u32; 2], session: &Session) -> Self {
        let token_types = session
            .inputs()
            .iter()
            .any(|input| input.name() == "token_type_ids");
        let [begin, end] = marks.map(i64::from);
        Self {
            labels,
            begin,
            end,
            token_types,
        }
    }

    /// Whether the graph gives as many labels as there are.
    pub(super) fn fits(&self, session: &mut Session) -> bool {
        self.judge(session, &[]).is_ok()
    }

    /// What stretches of a text mention, in order.
    pub(super) fn mentions(
        &self,
        text: &str,
        stretches: &[Range<usize>],
        tokenizer: &Tokenizer,
        sessions: &Pool,
        until: Option<Instant>,
    ) -> Result<Vec<Mention>, Missed> {
        let mut ids: Vec<u32> = Vec::new();
        let mut spans: Vec<Range<usize>> = Vec::new();
        for stretch in stretches {
            // `encode_fast` would know no places; these are in bytes.
            let encoding = tokenizer
                .encode(&text[stretch.clone()], false)
                .map_err(|_| Missed::Failed)?;
            ids.extend(encoding.get_ids());
            let places = encoding.get_offsets().iter();
            spans.extend(places.map(|(start, end)| start + stretch.start..end + stretch.start));
        }
        let begins = |at: usize| at > 0 && windows::parts(text, spans[at - 1].clone(), spans[at].clone());
        let mut judged: Vec<(usize, f32)> = Vec::with_capacity(ids.len());
        for window in windows(ids.len(), begins) {
            let mut session = sessions.take(until)?;
            let all = self.judge(&mut session, &ids[window.judged.clone()])?;
            let from = window.judged.start;
            judged.extend_from_slice(&all[window.taken.start - from..window.taken.end - from]);
        }
        let tokens = judged.into_iter().zip(spans).map(|((label, sure), span)| Judged {
            span,
            kind: self.labels.kinds[label],
            begins: self.labels.begins[label],
            sure,
        });
        Ok(gather(text, tokens))
    }

    /// The likeliest label of each token of a window, and its probability.
    fn judge(&self, session: &mut Session, ids: &[u32]) -> Result<Vec<(usize, f32)>, Missed> {
        let mut window = Vec::with_capacity(ids.len() + 2);
        window.push(self.begin);
        window.extend(ids.iter().copied().map(i64::from));
        window.push(self.end);
        let shape = [1, window.len()];
        let tensor = |values: Vec<i64>| -> Result<SessionInputValue<'_>, Missed> {
            Tensor::from_array((shape, values))
                .map(SessionInputValue::from)
                .map_err(|_| Missed::Failed)
        };
        let ones = vec![1; window.len()];
        let zeros = vec![0; window.len()];
        let mut given = inputs! {
            "input_ids" => tensor(window)?,
            "attention_mask" => tensor(ones)?,
        };
        if self.token_types {
            given.push(("token_type_ids".into(), tensor(zeros)?));
        }
        let outputs = session.run(given).map_err(|_| Missed::Failed)?;
        let (_, logits) = outputs[0]
            .try_extract_tensor::<f32>()
            .map_err(|_| Missed::Failed)?;
        let labels = self.labels.kinds.len();
        if logits.len() != shape[1] * labels {
            return Err(Missed::Failed);
        }
        // The marks at both ends are no tokens of the text.
        let own = &logits[labels..logits.len() - labels];
        Ok(own.chunks(labels).map(likeliest).collect())
    }
}
