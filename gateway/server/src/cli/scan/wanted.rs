//! What of all that is found is reported: values, passages where they are asked for, and under `--policy` only what
//! that policy would act on in a request to a cloud.

use cordon_domain::{Action, Actor, Dialect, Door, Finding, Identity, Role, UpstreamKind};
use cordon_policy::{Facts, Files, Policy, Upstream};

use super::REGIONS;

/// What of all that is found is asked for.
pub(super) struct Wanted<'a> {
    pub(super) policy: Option<Policy>,
    /// Of the sender that the policy is asked about.
    pub(super) groups: &'a [String],
    /// Whether whole passages are.
    pub(super) regions: bool,
}

impl Wanted<'_> {
    /// For each finding, whether it is reported.
    pub(super) fn of(&self, findings: &[Finding]) -> Vec<bool> {
        let mut wanted: Vec<bool> = findings
            .iter()
            .map(|finding| {
                // What the company made fingerprints of is what it wants to hear of.
                self.regions || finding.source.is_some() || !REGIONS.contains(&finding.entity.family())
            })
            .collect();
        if let Some(policy) = &self.policy {
            let asked: Vec<usize> = (0..findings.len()).filter(|index| wanted[*index]).collect();
            let own: Vec<Finding> = asked.iter().map(|index| findings[*index].clone()).collect();
            for (index, acts) in asked.into_iter().zip(acted_on(policy, self.groups, &own)) {
                wanted[index] = acts;
            }
        }
        wanted
    }
}

/// For each finding, whether a policy does anything but allow when the text goes to a cloud.
fn acted_on(policy: &Policy, groups: &[String], findings: &[Finding]) -> Vec<bool> {
    let cloud = Upstream {
        name: "cloud".into(),
        kind: UpstreamKind::Cloud,
    };
    let actor = Actor {
        user: "scan".to_owned(),
        groups: groups.iter().cloned().collect(),
        identity: Identity::Unidentified,
    };
    let facts = Facts {
        actor: &actor,
        dialect: Dialect::OpenaiChat,
        door: Door::Proxy,
        host: None,
        method: "POST",
        path: "/v1/chat/completions",
        model: None,
        requested: Some(&cloud),
        upstreams: std::slice::from_ref(&cloud),
        roles: &[Role::User],
        unanswered: &[],
        files: Files::default(),
        acknowledged: None,
    };
    let mut acts = vec![false; findings.len()];
    for verdict in policy.decide(&facts, findings).verdicts {
        acts[verdict.finding] |= verdict.action != Action::Allow;
    }
    acts
}
