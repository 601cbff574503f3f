//! Ask: what only the on-prem model can tell of a request's texts, where the policy wants to know it.
//!
//! It is the part of inspection that needs to know who would answer: asking is costly, so a question is
//! asked only where its answer could change the decision. A yes is a finding over the whole text. Texts are
//! asked about one by one, the last first, long ones in parts; headers, path and query are not, nor parts that
//! are no language.
//!
//! The model that is asked stands in the building ([`crate::upstream::OnPrem`]); the texts are not cleared yet.
//!
//! On failure: the question counts as unanswered, which is for decide; the record names it either way.

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::{Duration, Instant},
};

use cordon_audit::{Answer, Asked};
use cordon_domain::{Segment, Splice};
use cordon_policy::Question;
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::{
    audit::Draft,
    decide,
    decode::{Content, Decoded},
    inspect::Found,
};
use crate::{
    gate::Gate,
    metrics::Stage,
    questions::{Answered, Missing, Round, parts},
    refusal::Cause,
    rules::Rules,
    supervise::EngineState,
};

/// The ask stage.
pub async fn ask(
    gate: &Gate,
    rules: &Rules,
    decoded: &Decoded,
    found: &mut Found,
    left: &CancellationToken,
    draft: &mut Draft,
) -> Result<(), Cause> {
    let Content::Known(body) = &decoded.content else {
        return Ok(());
    };
    if rules.policy.questions().is_empty() || found.failed_open {
        return Ok(());
    }
    let started = Instant::now();
    let limits = gate.questions.config();
    let actor = draft.actor.clone();
    let round = Round {
        actor: &actor.user,
        exchange: draft.exchange,
        until: started + Duration::from_millis(limits.deadline_ms),
        left: AtomicI64::new(i64::try_from(limits.tokens_per_exchange).unwrap_or(i64::MAX)),
    };
    let mut asked: Vec<Arc<str>> = Vec::new();
    // An answer may change who would answer, and with it what is to be asked. Each is asked once.
    while let Some(question) = next(gate, rules, decoded, found, draft, &asked) {
        asked.push(question.id().clone());
        let one = one(gate, &round, question, body.segments());
        tokio::select! {
            biased;
            () = left.cancelled() => return Err(Cause::ClientLeft),
            told = one => take(gate, question, told, found, draft),
        }
    }
    if !asked.is_empty() {
        draft.took(Stage::Ask, started);
    }
    Ok(())
}

/// A question that is wanted as things stand, and was not asked yet.
fn next<'r>(
    gate: &Gate,
    rules: &'r Rules,
    decoded: &Decoded,
    found: &Found,
    draft: &Draft,
    asked: &[Arc<str>],
) -> Option<&'r Question> {
    let requested = decide::requested(gate, decoded);
    let facts = decide::facts(gate, decoded, found, requested.as_ref(), draft);
    rules
        .policy
        .questions_for(&facts, &found.findings)
        .into_iter()
        .find(|question| !asked.contains(question.id()))
}

/// What came of one question.
struct Told {
    /// Each text that it was asked about: its segment, its length, what came of it.
    texts: Vec<(usize, usize, Answered)>,
    took: Duration,
}

/// Asks one question about every text that it concerns.
async fn one(gate: &Gate, round: &Round<'_>, question: &Question, segments: &[Segment]) -> Told {
    let started = Instant::now();
    let limits = gate.questions.config();
    let concerned: Vec<(usize, usize, Vec<&str>)> = segments
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, segment)| question.concerns(segment.role, segment.text.len()))
        .map(|(at, segment)| (at, segment.text.as_str()))
        .map(|(at, text)| (at, text.len(), parts(text, limits.window_bytes)))
        .filter(|(.., parts)| !parts.is_empty())
        .collect();
    let mut texts: Vec<(usize, usize, Answered)> = Vec::with_capacity(concerned.len());
    let down = gate.questions.ask_engine() && gate.engine.state() != EngineState::Ready;
    if down {
        texts.extend(concerned.iter().map(|(at, bytes, _)| {
            let nothing = Answered {
                texts: 1,
                missing: Some(Missing::Down),
                ..Answered::default()
            };
            (*at, *bytes, nothing)
        }));
    } else {
        texts.extend(
            concerned
                .iter()
                .map(|(at, bytes, _)| (*at, *bytes, Answered::default())),
        );
        let parts: Vec<_> = concerned
            .iter()
            .enumerate()
            .flat_map(|(nth, (.., parts))| parts.iter().map(move |part| (nth, part)))
            .map(|(nth, part)| about(gate, round, question, nth, part))
            .collect();
        let mut answers = stream::iter(parts).buffer_unordered(limits.at_once);
        while let Some((nth, answered)) = answers.next().await {
            texts[nth].2.join(answered);
        }
    }
    Told {
        texts,
        took: started.elapsed(),
    }
}

/// Asks about a part of the `nth` text.
async fn about(
    gate: &Gate,
    round: &Round<'_>,
    question: &Question,
    nth: usize,
    part: &str,
) -> (usize, Answered) {
    (nth, gate.questions.about(round, question, part).await)
}

/// Makes findings and the record's line of what came of a question.
fn take(gate: &Gate, question: &Question, told: Told, found: &mut Found, draft: &mut Draft) {
    if told.texts.is_empty() {
        return;
    }
    let mut whole = Answered::default();
    let mut findings = Vec::new();
    for (segment, bytes, answered) in told.texts {
        if let Some(opinion) = answered.opinion
            && opinion.likelihood >= question.min_score()
        {
            findings.push(question.finding(segment, bytes, opinion.likelihood));
        }
        whole.join(answered);
    }
    let answer = if !findings.is_empty() {
        Answer::Yes
    } else if whole.missing.is_some() {
        Answer::Unanswered
    } else {
        Answer::No
    };
    let reason = whole
        .opinion
        .filter(|_| answer == Answer::Yes)
        .and_then(|opinion| question.reasons().get(opinion.reason?))
        .cloned();
    draft.findings(&findings);
    found.findings.extend(findings);
    if whole.missing.is_some() {
        // Also beside a yes: what the rest of the texts holds nobody knows.
        found.unanswered.push(question.id().clone());
    }
    if let Some(reason) = &reason {
        found.reasons.push((question.entity().clone(), reason.clone()));
    }
    draft.asked(Asked {
        question: question.id().to_string(),
        answer,
        upstream: gate.questions.upstream().to_owned(),
        texts: whole.texts,
        cached: whole.cached,
        tokens: whole.tokens,
        milliseconds: u64::try_from(told.took.as_millis()).unwrap_or(u64::MAX),
        reason: reason.map(|reason| reason.to_string()),
        failure: whole.missing.map(|missing| missing.code().to_owned()),
    });
}
