//! What a decision and a transform cost: the embedded policy, a cloud upstream, few and many findings.

use std::hint::black_box;

use bytes::Bytes;
use cordon_domain::{
    Actor, Dialect, Door, Edit, Finding, Identity, Place, Role, Segment, Splice, SpliceError, UpstreamKind,
};
use cordon_policy::{Facts, Files, Head, PlaceholderKey, Policy, SpliceHead, Upstream, transform};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

struct Body(Vec<Segment>);

impl Splice for Body {
    fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn splice(&self, edits: &[Edit]) -> Result<Bytes, SpliceError> {
        let replaced: String = edits.iter().map(|edit| edit.replacement.as_str()).collect();
        Ok(Bytes::from(replaced))
    }
}

struct NoHead;

impl SpliceHead for NoHead {
    fn segments(&self) -> &[Segment] {
        &[]
    }

    fn splice(&self, _: &[Edit]) -> Result<Head, SpliceError> {
        Ok(Head {
            headers: Vec::new(),
            path_and_query: "/".into(),
        })
    }
}

/// A segment with `count` e-mail addresses and the findings in it.
fn request(count: usize) -> (Body, Vec<Finding>) {
    let mut text = String::new();
    let mut findings = Vec::with_capacity(count);
    for n in 0..count {
        text.push_str("please write to ");
        let start = text.len();
        text.push_str(&format!("person{n}@example.com"));
        findings.push(Finding {
            segment: 0,
            span: start..text.len(),
            entity: "EMAIL".parse().expect("a well-formed type"),
            detector: "email".into(),
            score: 0.9,
            evidence: Vec::new(),
            source: None,
        });
        text.push_str(" about the order. ");
    }
    let segment = Segment {
        place: Place::new("/0"),
        role: Role::User,
        text: text.into(),
    };
    (Body(vec![segment]), findings)
}

fn decide(c: &mut Criterion) {
    let (name, yaml) = Policy::embedded_default();
    let policy = Policy::parse(name, yaml).expect("the embedded policy parses");
    let actor = Actor {
        user: "j.kim".into(),
        groups: ["cloud-users".to_owned()].into(),
        identity: Identity::AnonymousLoopback,
    };
    let upstreams = [
        Upstream {
            name: "engine".into(),
            kind: UpstreamKind::Engine,
        },
        Upstream {
            name: "openai".into(),
            kind: UpstreamKind::Cloud,
        },
    ];
    let facts = Facts {
        actor: &actor,
        dialect: Dialect::OpenaiChat,
        door: Door::Proxy,
        host: Some("api.openai.com"),
        method: "POST",
        path: "/v1/chat/completions",
        model: Some("gpt"),
        requested: Some(&upstreams[1]),
        upstreams: &upstreams,
        roles: &[Role::User],
        unanswered: &[],
        files: Files::default(),
        acknowledged: None,
    };
    let key = PlaceholderKey::new([1; 32]);
    for count in [0, 3, 1000] {
        let (body, findings) = request(count);
        c.bench_function(&format!("decide/{count}"), |b| {
            b.iter(|| policy.decide(black_box(&facts), black_box(&findings)));
        });
        let decision = policy.decide(&facts, &findings);
        c.bench_function(&format!("transform/{count}"), |b| {
            b.iter_batched(
                || (),
                |()| transform(black_box(&decision), &findings, &body, &NoHead, &key),
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
