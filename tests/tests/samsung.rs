//! The three leaks of spring 2023, replayed: `docs/samsung.md` tells them. The code and the transcript are made up.
//!
//! Everything runs under the default policy, for an employee who may use a provider outside the company. What
//! left is what the provider received; what the auditor sees is what `cordon audit search` prints.

use cordon_tests::scene::Scene;
use serde_json::Value;

/// Measuring software of a fab, its variables renamed before it was pasted, amid a question.
const FAB_CODE: &str =
    "Why does this sometimes report a wrong offset after the second pass? No idea any more.

static int f1(struct t1 *a, const float *b, int n)
{
    float s = 0.0f;
    for (int i = 0; i < n; i++) {
        if (b[i] < a->lo || b[i] > a->hi)
            continue;
        s += b[i] * a->k[i % 8];
    }
    a->off = s / (float)n - a->ref;
    return a->off > a->max ? -1 : 0;
}

int f2(struct t1 *a, struct t2 *q)
{
    int r = f1(a, q->buf, q->len);
    if (r < 0) {
        q->retry++;
        return f1(a, q->buf + q->len / 2, q->len / 2);
    }
    return r;
}

Thanks, I need it before the shift ends.";

/// A program that finds defects, asked to be made faster.
const DEFECT_CODE: &str = "Please optimise this, it takes four minutes a wafer:

import numpy as np

def find_defects(image, reference, limit=0.12):
    diff = np.abs(image.astype(float) - reference)
    mask = diff > limit * reference.max()
    labels = {}
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x]:
                labels.setdefault((y // 32, x // 32), []).append((y, x))
    return [group for group in labels.values() if len(group) > 5]
";

/// A meeting, written down by a program and pasted to have minutes made of it.
const TRANSCRIPT: &str = "Make minutes of this meeting, please.

[Internal use only]
[00:00:12] Right, the yield of Bluefin is at 61 percent since Monday.
[00:00:31] That is four points under what we promised for the second quarter.
[00:01:02] The etch step is the bottleneck. We would have to move the launch to October.
[00:01:40] Nobody outside this room hears of it before the board does.";

/// The same without its heading: only the name of the project, which the company knows, gives it away.
const NO_HEADING: &str = "Make minutes of this meeting, please.

[00:00:12] Right, the yield of Bluefin is at 61 percent since Monday.
[00:01:02] The etch step is the bottleneck. We would have to move the launch to October.";

/// The company's own detector file: names of projects that are no news yet.
const PROJECTS: &str = "detectors:
  - id: project-names
    entity: CONFIDENTIAL.PROJECT
    pattern: '(?i)bluefin'
    keywords: [bluefin]
    whole_words: true
    score: 0.9
    examples: ['the yield of ⟦Bluefin⟧']
    counter_examples: ['a blue fin']
";

/// The scene, in which the company knows its projects by name.
async fn scene() -> Scene {
    let scene = Scene::new("detectors: [projects.yaml]\n").await;
    scene.home.write("projects.yaml", PROJECTS);
    scene
}

/// The entity types that a record names.
fn found(record: &Value) -> String {
    record["opening"]["body"]["entities"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn none_of_the_three_leaves_and_each_is_on_record() {
    let scene = scene().await;
    let key = scene.home.key("jiwoo", "cloud-users");
    let cordon = scene.home.serve().await;
    for (text, secret, entity) in [
        (FAB_CODE, "a->off = s", "SOURCE_CODE"),
        (DEFECT_CODE, "labels.setdefault", "SOURCE_CODE"),
        (TRANSCRIPT, "61 percent", "CONFIDENTIAL"),
        (NO_HEADING, "etch step", "CONFIDENTIAL.PROJECT"),
    ] {
        let reply = scene.paste(&cordon, &key, text).await;
        // The employee has an answer, from the model in the building, and is told so.
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.decision(), "reroute", "{secret}");
        assert!(scene.on_prem.knows(secret), "{secret}");
        // Nothing left.
        assert!(!scene.cloud.knows(secret), "{secret}");
        // The auditor sees who, what kind, and where it went instead; not the text.
        let record = scene.home.record(reply.exchange()).await;
        let body = &record["opening"]["body"];
        assert_eq!(body["upstream"], "engine", "{record:#}");
        assert!(found(&record).contains(entity), "{record:#}");
        assert_eq!(body["actor"]["user"], scene.home.reference("jiwoo"), "{record:#}");
        assert!(!record.to_string().contains("jiwoo"), "{record:#}");
        assert!(!record.to_string().contains(secret), "{record:#}");
    }
    assert!(scene.cloud.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harmless_question_of_the_same_employee_reaches_the_provider() {
    let scene = scene().await;
    let key = scene.home.key("jiwoo", "cloud-users");
    let cordon = scene.home.serve().await;
    let reply = scene
        .paste(
            &cordon,
            &key,
            "What is the difference between a mean and a median?",
        )
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(scene.cloud.knows("mean and a median"));
}

/// The file in the company's repository that [`FAB_CODE`] was taken from: names, comments and layout are its own.
const GAUGE: &str = "/* Overlay gauge, second pass. Company confidential. */
#include \"gauge.h\"

/* Mean overlay of the samples within limits, against the reference. */
static int measure_overlay(struct gauge *gauge, const float *samples, int count)
{
        float sum = 0.0f; /* weighted */
        for (int sample = 0; sample < count; sample++)
        {
                /* outliers are dust */
                if (samples[sample] < gauge->lower || samples[sample] > gauge->upper)
                        continue;
                sum += samples[sample] * gauge->weights[sample % 8];
        }
        gauge->overlay = sum / (float)count - gauge->reference;
        return gauge->overlay > gauge->limit ? -1 : 0;
}

int second_pass(struct gauge *gauge, struct queue *queue)
{
        int outcome = measure_overlay(gauge, queue->buffer, queue->length);
        if (outcome < 0)
        {
                queue->retries++;
                return measure_overlay(gauge, queue->buffer + queue->length / 2, queue->length / 2);
        }
        return outcome;
}
";

/// The minutes of which a transcript without a heading is a part.
const APRIL: &str = "Minutes, second week of April.

[00:00:12] Right, the yield of the new line is at 61 percent since Monday.
[00:00:31] That is four points under what we promised for the second quarter.
[00:01:02] The etch step is the bottleneck. We would have to move the launch to October.
[00:01:40] Nobody outside this room hears of it before the board does.
[00:02:05] Chamber three drifts after forty wafers; the supplier sends a pump next week.";

#[tokio::test(flavor = "multi_thread")]
async fn fingerprints_recognise_what_no_marking_gives_away() {
    let scene = scene().await;
    let key = scene.home.key("jiwoo", "cloud-users");
    for (set, file, text) in [
        ("fab", "fab/gauge.c", GAUGE),
        ("board", "minutes/april.txt", APRIL),
    ] {
        let path = scene.home.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let folder = path.parent().unwrap().display().to_string();
        scene.home.run(&["fingerprint", "add", set, &folder]);
    }
    let cordon = scene.home.serve().await;
    let unmarked = APRIL.lines().skip(2).take(4).collect::<Vec<_>>().join("\n");
    let unmarked = format!("Make minutes of this meeting, please.\n\n{unmarked}");
    for (text, secret, entity, file) in [
        (FAB_CODE, "a->off = s", "CONFIDENTIAL.FAB", "fab/gauge.c"),
        (&unmarked, "etch step", "CONFIDENTIAL.BOARD", "minutes/april.txt"),
    ] {
        let reply = scene.paste(&cordon, &key, text).await;
        assert_eq!(reply.decision(), "reroute", "{secret}: {}", reply.text());
        assert!(scene.on_prem.knows(secret), "{secret}");
        assert!(!scene.cloud.knows(secret), "{secret}");
        let record = scene.home.record(reply.exchange()).await;
        assert!(found(&record).contains(entity), "{record:#}");
        assert_eq!(
            record["opening"]["body"]["sources"][0]["file"], file,
            "{record:#}"
        );
        assert!(!record.to_string().contains(secret), "{record:#}");
    }
}
