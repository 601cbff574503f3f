//! `POST /v1/embeddings` and `POST /v1/rerank`.
//!
//! A chat model embeds too, by the mean of its tokens, which is of some use for finding what is alike; weights made for it are better.
//! Reranking takes a reranker's own score where the weights are one, else how near the texts' vectors are.
//!
//! Limits: [`TEXTS`] texts and [`MOST_TOKENS`] tokens a request; a text's length is the embedder's.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::Response;
use llama_cpp_2::token::LlamaToken;
use serde_json::{Value, json};

use super::{Body, Desk, Held, reply};
use crate::{
    chat::{
        completion::{Prompt, prompts},
        invalid, object,
    },
    embedder::Embedder,
    failure::Failure,
    models::Loaded,
};

/// Texts of a request.
const TEXTS: usize = 1024;
/// Tokens of all texts of a request.
const MOST_TOKENS: usize = 1 << 19;

/// `POST /v1/embeddings`, as OpenAI has it.
pub(super) async fn embed(desk: &Arc<Desk>, body: Held) -> Result<Response<Body>, Failure> {
    let model = body.model.clone();
    let (texts, packed) = desk
        .aside(body, |loaded, body| {
            let fields = object(body)?;
            if fields.get("dimensions").is_some_and(|wanted| !wanted.is_null()) {
                return Err(Failure::Unsupported {
                    param: "dimensions".to_owned(),
                    why: "vectors have the model's own length",
                });
            }
            let packed = match fields.get("encoding_format").and_then(Value::as_str) {
                None | Some("float") => false,
                Some("base64") => true,
                Some(_) => return Err(invalid("encoding_format", "must be `float` or `base64`")),
            };
            let vocabulary = loaded.weights.vocabulary_size();
            let texts = prompts(fields.get("input"), vocabulary, "input", TEXTS)?;
            embedder(loaded)?;
            Ok((
                texts
                    .into_iter()
                    .map(|text| tokens(loaded, text))
                    .collect::<Vec<_>>(),
                packed,
            ))
        })
        .await?;
    let used: usize = texts.iter().map(Vec::len).sum();
    if used > MOST_TOKENS {
        return Err(invalid("input", "has too many tokens together; send fewer texts"));
    }
    let embedder = embedder(&model.loaded)?;
    if embedder.ranks() {
        return Err(Failure::Unsupported {
            param: "input".to_owned(),
            why: "this model ranks texts and does not embed them; use /v1/rerank",
        });
    }
    let vectors = embedder.embed(texts).await?;
    let told = |(index, vector): (usize, Vec<f32>)| {
        let vector = if packed {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            Value::from(STANDARD.encode(bytes))
        } else {
            Value::from(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": vector})
    };
    Ok(reply(&json!({
        "object": "list",
        "data": vectors.into_iter().enumerate().map(told).collect::<Vec<_>>(),
        "model": &*model.name,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    })))
}

/// `POST /v1/rerank`, in the form that Jina and llama.cpp's server have: `query`, `documents`, `top_n`, `return_documents`.
pub(super) async fn rerank(desk: &Arc<Desk>, body: Held) -> Result<Response<Body>, Failure> {
    let model = body.model.clone();
    let Ranking {
        documents,
        texts,
        top,
        shows,
    } = desk.aside(body, read_ranking).await?;
    let used: usize = texts.iter().map(Vec::len).sum();
    let embedder = embedder(&model.loaded)?;
    let vectors = embedder.embed(texts).await?;
    let scores: Vec<f32> = if embedder.ranks() {
        vectors
            .iter()
            .map(|score| score.first().copied().unwrap_or(0.0))
            .collect()
    } else {
        let (query, documents) = vectors.split_first().ok_or(Failure::Inference)?;
        let near = |vector: &Vec<f32>| query.iter().zip(vector).map(|(a, b)| a * b).sum();
        documents.iter().map(near).collect()
    };
    let mut ranked: Vec<(usize, f32)> = scores.into_iter().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked.truncate(top);
    let told = |(index, score): (usize, f32)| {
        let mut told = json!({"index": index, "relevance_score": score});
        if shows {
            told["document"] = json!({"text": documents[index]});
        }
        told
    };
    Ok(reply(&json!({
        "object": "list",
        "model": &*model.name,
        "results": ranked.into_iter().map(told).collect::<Vec<_>>(),
        "usage": {"prompt_tokens": used, "total_tokens": used},
    })))
}

/// A request to rank, read.
struct Ranking {
    documents: Vec<String>,
    /// Of a reranker the query with each document; else the query and then the documents.
    texts: Vec<Vec<LlamaToken>>,
    top: usize,
    shows: bool,
}

fn read_ranking(loaded: &Loaded, body: &[u8]) -> Result<Ranking, Failure> {
    let fields = object(body)?;
    let query = fields
        .get("query")
        .and_then(Value::as_str)
        .filter(|query| !query.is_empty())
        .ok_or_else(|| invalid("query", "must be a string that is not empty"))?;
    let documents: Option<Vec<String>> =
        fields
            .get("documents")
            .and_then(Value::as_array)
            .and_then(|documents| {
                let text = |document: &Value| {
                    document
                        .as_str()
                        .or_else(|| document["text"].as_str())
                        .map(str::to_owned)
                };
                documents.iter().map(text).collect()
            });
    let documents = documents
        .filter(|documents| (1..=TEXTS).contains(&documents.len()))
        .ok_or_else(|| invalid("documents", "must be an array of 1 to 1024 strings"))?;
    let top = match fields.get("top_n") {
        None | Some(Value::Null) => documents.len(),
        Some(top) => top
            .as_u64()
            .and_then(|top| usize::try_from(top).ok())
            .filter(|top| *top > 0)
            .ok_or_else(|| invalid("top_n", "must be a whole number above 0"))?,
    };
    let whole = |text: &str| loaded.weights.tokenise_whole(text);
    let embedder = embedder(loaded)?;
    let texts = if embedder.ranks() {
        let asked = whole(query);
        let opening = loaded.weights.opening_token();
        let mut room = MOST_TOKENS;
        let mut pairs = Vec::with_capacity(documents.len());
        for document in &documents {
            let document = whole(document);
            // The second text's own beginning is not said again.
            let from = usize::from(opening.is_some() && document.first().copied() == opening);
            let pair = [&asked, &document[from..]].concat();
            embedder.bound(&pair)?;
            room = room
                .checked_sub(pair.len())
                .ok_or_else(|| invalid("documents", "have too many tokens together; send fewer"))?;
            pairs.push(pair);
        }
        pairs
    } else {
        std::iter::once(query)
            .chain(documents.iter().map(String::as_str))
            .map(whole)
            .collect()
    };
    Ok(Ranking {
        texts,
        top,
        shows: fields
            .get("return_documents")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        documents,
    })
}

fn tokens(loaded: &Loaded, text: Prompt) -> Vec<LlamaToken> {
    match text {
        Prompt::Text(text) => loaded.weights.tokenise_whole(&text),
        Prompt::Tokens(tokens) => tokens.into_iter().map(LlamaToken).collect(),
    }
}

/// What embeds, made at its first use.
fn embedder(loaded: &Loaded) -> Result<&Embedder, Failure> {
    let made = loaded.embedder.get_or_init(|| {
        Embedder::start(Arc::clone(&loaded.weights), loaded.scheduler.threads())
            .map_err(|error| tracing::error!(%error, "nothing can be embedded"))
            .ok()
    });
    made.as_ref().ok_or(Failure::Unsupported {
        param: "input".to_owned(),
        why: "these weights cannot embed, or there is no memory for it",
    })
}
