//! What of a connection's messages waits for an answer, and which of it an upstream's message is about.
//!
//! A response is begun by the first message that waits and has none yet; from then on its id says whose it is. An error
//! names the caller's message, where that had a name; one that names none is about the first that has not begun,
//! never about an answer under way. A response that nobody asked for (a Realtime session that hears its caller
//! speak begins them by itself) is nobody's.

use std::collections::VecDeque;

use cordon_domain::Dialect;
use serde::Deserialize;

use super::super::super::audit::Draft;

/// The part of an upstream's message that says what it is about.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    #[serde(rename = "type")]
    kind: String,
    response: Named,
    response_id: String,
    error: Failed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failed {
    event_id: Option<String>,
}

impl Said {
    /// Reads a message; one of another shape is about nothing.
    pub(super) fn read(message: &[u8]) -> Self {
        serde_json::from_slice(message).unwrap_or_default()
    }

    fn response(&self) -> &str {
        if self.response_id.is_empty() {
            &self.response.id
        } else {
            &self.response_id
        }
    }
}

/// A message that waits.
struct Asked<T> {
    draft: T,
    /// The caller's own name for it.
    event: Option<String>,
    /// The response that was begun for it.
    response: Option<String>,
}

/// Messages that wait, in the order they were sent.
pub(super) struct Waiting<T = Draft>(VecDeque<Asked<T>>);

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Waiting<T> {
    pub(super) fn push(&mut self, draft: T, event: Option<String>) {
        self.0.push_back(Asked {
            draft,
            event,
            response: None,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.0).into_iter().map(|asked| asked.draft)
    }

    /// Notes that a response has begun, if the message says so.
    pub(super) fn begun(&mut self, said: &Said) {
        if said.kind == "response.created"
            && !said.response().is_empty()
            && let Some(asked) = self.0.iter_mut().find(|asked| asked.response.is_none())
        {
            asked.response = Some(said.response().to_owned());
        }
    }

    /// What a message is about: by its response, or else the first that waits.
    pub(super) fn of(&mut self, said: Option<&Said>) -> Option<&mut T> {
        let at = said.and_then(|said| self.position(said)).unwrap_or(0);
        self.0.get_mut(at).map(|asked| &mut asked.draft)
    }

    /// Takes out what has its answer with this message, if anything has.
    pub(super) fn answered(&mut self, said: &Said, dialect: Option<Dialect>) -> Option<T> {
        let at = if said.kind == "error" {
            match &said.error.event_id {
                Some(event) => self
                    .0
                    .iter()
                    .position(|asked| asked.event.as_ref() == Some(event)),
                None => self.0.iter().position(|asked| asked.response.is_none()),
            }
        } else {
            self.position(said)
        };
        // Elsewhere answers come one after another, and every end is that of the first.
        let at = at.or_else(|| (dialect != Some(Dialect::OpenaiRealtime)).then_some(0))?;
        self.0.remove(at).map(|asked| asked.draft)
    }

    fn position(&self, said: &Said) -> Option<usize> {
        let id = said.response();
        let same = |asked: &Asked<T>| asked.response.as_deref() == Some(id);
        (!id.is_empty()).then(|| self.0.iter().position(same)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REALTIME: Option<Dialect> = Some(Dialect::OpenaiRealtime);

    fn said(text: &str) -> Said {
        Said::read(text.as_bytes())
    }

    fn waiting() -> Waiting<char> {
        let mut waiting = Waiting::default();
        waiting.push('a', None);
        waiting.push('b', Some("mine".to_owned()));
        waiting.begun(&said(r#"{"type":"response.created","response":{"id":"r1"}}"#));
        waiting
    }

    #[test]
    fn an_error_about_something_else_ends_no_answer() {
        let mut waiting = waiting();
        let other = said(r#"{"type":"error","error":{"event_id":"another"}}"#);
        assert_eq!(waiting.answered(&other, REALTIME), None);
        let named = said(r#"{"type":"error","error":{"event_id":"mine"}}"#);
        assert_eq!(waiting.answered(&named, REALTIME), Some('b'));
        // The answer that is under way is nobody else's to end.
        let nameless = said(r#"{"type":"error","error":{"event_id":null}}"#);
        assert_eq!(waiting.answered(&nameless, REALTIME), None);
        let done = said(r#"{"type":"response.done","response":{"id":"r1"}}"#);
        assert_eq!(waiting.answered(&done, REALTIME), Some('a'));
    }

    #[test]
    fn responses_are_told_apart_by_their_ids() {
        let mut waiting = waiting();
        waiting.begun(&said(r#"{"type":"response.created","response":{"id":"r2"}}"#));
        let delta = said(r#"{"type":"response.output_text.delta","response_id":"r2","delta":"x"}"#);
        assert_eq!(waiting.of(Some(&delta)), Some(&mut 'b'));
        // One that nobody asked for.
        let own = said(r#"{"type":"response.done","response":{"id":"r9"}}"#);
        assert_eq!(waiting.answered(&own, REALTIME), None);
        let second = said(r#"{"type":"response.done","response":{"id":"r2"}}"#);
        assert_eq!(waiting.answered(&second, REALTIME), Some('b'));
        assert_eq!((waiting.len(), waiting.is_empty()), (1, false));
    }

    #[test]
    fn where_answers_come_in_order_any_end_is_the_firsts() {
        let mut waiting = waiting();
        let failed = said(r#"{"type":"error","code":"x"}"#);
        assert_eq!(
            waiting.answered(&failed, Some(Dialect::OpenaiResponses)),
            Some('b')
        );
        assert_eq!(
            waiting.answered(&failed, Some(Dialect::OpenaiResponses)),
            Some('a')
        );
        assert_eq!(
            waiting.answered(&said("[]"), Some(Dialect::OpenaiResponses)),
            None
        );
    }
}
