//! LoRA adapters, made here: small files whose effect is plain to see.

use std::path::Path;

use serde_json::{Value, json};

use crate::running::{Answer, Engine};

/// Width of SmolLM2-135M, and of its queries.
const WIDTH: u64 = 576;
const RANK: u64 = 2;

/// A GGUF file as its specification has it (ggml's `docs/gguf.md`), version 3.
struct Gguf(Vec<u8>);

impl Gguf {
    fn text(&mut self, text: &str) {
        self.0.extend((text.len() as u64).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn named_text(&mut self, name: &str, value: &str) {
        self.text(name);
        self.0.extend(8_u32.to_le_bytes());
        self.text(value);
    }

    fn named_number(&mut self, name: &str, value: f32) {
        self.text(name);
        self.0.extend(6_u32.to_le_bytes());
        self.0.extend(value.to_le_bytes());
    }
}

/// Writes an adapter that changes all layers' queries by numbers that follow from `seed`.
fn write_adapter(file: &Path, architecture: &str, seed: u32) {
    let names: Vec<String> = (0..30)
        .map(|layer| format!("blk.{layer}.attn_q.weight"))
        .collect();
    let mut gguf = Gguf(b"GGUF".to_vec());
    gguf.0.extend(3_u32.to_le_bytes());
    gguf.0.extend((2 * names.len() as u64).to_le_bytes());
    gguf.0.extend(4_u64.to_le_bytes());
    gguf.named_text("general.type", "adapter");
    gguf.named_text("general.architecture", architecture);
    gguf.named_text("adapter.type", "lora");
    gguf.named_number("adapter.lora.alpha", RANK as f32);
    let mut offset = 0_u64;
    for name in &names {
        for (half, shape) in [("lora_a", [WIDTH, RANK]), ("lora_b", [RANK, WIDTH])] {
            gguf.text(&format!("{name}.{half}"));
            gguf.0.extend(2_u32.to_le_bytes());
            for length in shape {
                gguf.0.extend(length.to_le_bytes());
            }
            // 32-bit floats.
            gguf.0.extend(0_u32.to_le_bytes());
            gguf.0.extend(offset.to_le_bytes());
            offset += WIDTH * RANK * 4;
        }
    }
    gguf.0.resize(gguf.0.len().next_multiple_of(32), 0);
    let mut state = seed;
    for _ in 0..offset / 4 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let number = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
        gguf.0.extend((number * 0.6).to_le_bytes());
    }
    std::fs::write(file, gguf.0).unwrap();
}

fn story(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Tell me a story about a fox."}],
        "temperature": 0, "max_tokens": 24})
}

#[tokio::test]
async fn adapters_answer_differently_side_by_side_and_share_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first.gguf"), dir.path().join("second.gguf"));
    write_adapter(&first, "llama", 1);
    write_adapter(&second, "llama", 2);
    let lora = |name: &str, file: &Path| format!("{name}={}", file.display());
    let engine = Engine::start(&[
        "--alias",
        "small",
        "--slots",
        "6",
        "--lora",
        &lora("legal", &first),
        "--lora",
        &lora("support", &second),
    ])
    .await;
    let alone = [
        engine.chat(story("small")).await,
        engine.chat(story("legal")).await,
        engine.chat(story("support")).await,
    ];
    let text = |answer: &Answer| answer.text().to_owned();
    assert!(
        text(&alone[0]) != text(&alone[1])
            && text(&alone[1]) != text(&alone[2])
            && text(&alone[0]) != text(&alone[2])
    );
    let cached = |answer: &Answer| {
        answer.body["usage"]["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap()
    };
    assert!(
        alone.iter().all(|answer| cached(answer) == 0),
        "what one adapter read is of no use to another"
    );
    // All at once, twice each: everyone gets what they got alone; what was read before is still there.
    let together =
        ["small", "legal", "support", "support", "legal", "small"].map(|model| engine.chat(story(model)));
    let together = futures_util::future::join_all(together).await;
    for (answer, expected) in together.iter().zip([0, 1, 2, 2, 1, 0]) {
        assert_eq!(text(answer), text(&alone[expected]));
    }
    for [one, other] in [[0, 5], [1, 4], [2, 3]] {
        assert!(
            cached(&together[one]).max(cached(&together[other])) > 20,
            "{}",
            together[one].body
        );
    }
    assert_eq!(together[1].body["model"], "legal");
    let models = engine.send("GET", "/v1/models", "").await.body;
    let listed: Vec<_> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| (model["id"].as_str().unwrap(), model["parent"].as_str()))
        .collect();
    assert_eq!(
        listed,
        [
            ("small", None),
            ("legal", Some("small")),
            ("support", Some("small"))
        ]
    );
    let unknown = engine.chat(story("gpt-5")).await;
    assert_eq!((unknown.status, unknown.code()), (404, "model_not_found"));
    assert!(
        unknown.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("legal")
    );
}

#[tokio::test]
async fn an_adapter_of_other_weights_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (other, none) = (dir.path().join("other.gguf"), dir.path().join("none.gguf"));
    write_adapter(&other, "qwen2", 1);
    std::fs::write(&none, "no adapter").unwrap();
    for file in [other, none, dir.path().join("missing.gguf")] {
        let said = Engine::refuses(&["--lora", &format!("legal={}", file.display())]).await;
        assert!(
            said.contains("adapter legal") && said.lines().count() == 1,
            "{said}"
        );
    }
}

#[tokio::test]
async fn models_are_loaded_when_asked_for_and_put_away_when_not() {
    let weights = crate::running::weights();
    let coder = format!("coder={},slots=1,ctx=256,keep-alive=1", weights.display());
    let engine = Engine::start(&["--alias", "small", "--model", &coder]).await;
    let status = async |name: &str| {
        let models = engine.send("GET", "/v1/models", "").await.body;
        let model = models["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|model| model["id"] == name)
            .cloned();
        model.unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (status("small").await.as_str(), status("coder").await.as_str()),
        ("loaded", "unloaded")
    );
    let (small, coder) = tokio::join!(engine.chat(story("small")), engine.chat(story("coder")));
    assert_eq!(small.text(), coder.text(), "the same weights");
    assert_eq!(coder.body["model"], "coder");
    assert_eq!(status("coder").await, "loaded");
    let slots = engine.send("GET", "/slots", "").await.body;
    assert!(
        slots
            .as_array()
            .unwrap()
            .iter()
            .any(|slot| slot["model"] == "coder" && slot["n_ctx"] == 256)
    );
    let away = async { while status("coder").await != "unloaded" {} };
    tokio::time::timeout(crate::running::PATIENCE, away)
        .await
        .expect("put away in time");
    // By hand, and somebody's answer is not cut off for it.
    let hand = async |path: &str| {
        engine
            .send("POST", path, json!({"model": "coder"}).to_string())
            .await
            .status
    };
    assert_eq!(hand("/models/load").await, 200);
    assert_eq!(status("coder").await, "loaded");
    assert_eq!(hand("/models/unload").await, 200);
    assert_eq!(status("coder").await, "unloaded");
    assert_eq!(engine.chat(story("small")).await.status, 200);
    assert_eq!(engine.send("POST", "/models/load", "{}").await.status, 400);
}
