//! The model file and its vocabulary: text to tokens and back.
//!
//! Leaves decoding to [`crate::scheduler`] and the conversation's form to [`crate::prompt`].
//!
//! On failure: loading gives an error that names the file; after that nothing here fails.

use std::path::Path;

use anyhow::{Context as _, bail};
use llama_cpp_2::{
    context::{LlamaContext, params::LlamaContextParams},
    llama_backend::LlamaBackend,
    model::{LlamaModel, params::LlamaModelParams},
    token::LlamaToken,
    token_type::LlamaTokenAttr,
    vocab::LlamaVocab,
};
use tokio_util::sync::CancellationToken;

/// A loaded model. Shared read-only by all threads.
pub(crate) struct Weights {
    // Dropped in this order: the backend outlives what runs on it.
    model: LlamaModel,
    backend: LlamaBackend,
    control_texts: Vec<String>,
    longest_piece: usize,
}

impl Weights {
    /// Loads a GGUF file. `gpu_layers` `None` puts all layers on a GPU, where the build has one.
    /// Large weights take a while; cancelling `give_up` makes this fail at the next tensor.
    pub(crate) fn load(
        file: &Path,
        gpu_layers: Option<u32>,
        give_up: CancellationToken,
    ) -> anyhow::Result<Self> {
        if !file.is_file() {
            bail!("{} is not a file", file.display());
        }
        let backend = start_backend()?;
        if gpu_layers.is_some_and(|layers| layers > 0) && !backend.supports_gpu_offload() {
            tracing::warn!("--gpu-layers has no effect: this build has no GPU, or none is present");
        }
        let params = LlamaModelParams::default()
            .with_n_gpu_layers(gpu_layers.unwrap_or(u32::MAX))
            .with_progress_callback(move |_| !give_up.is_cancelled());
        let model = LlamaModel::load_from_file(&backend, file, &params)
            .with_context(|| format!("cannot load {} as GGUF weights", file.display()))?;
        let mut weights = Self {
            model,
            backend,
            control_texts: Vec::new(),
            longest_piece: 1,
        };
        weights.survey_vocabulary();
        Ok(weights)
    }

    fn survey_vocabulary(&mut self) {
        let vocabulary = self.model.vocab();
        let mut texts = Vec::new();
        let mut longest = 1;
        let mut piece = Vec::with_capacity(256);
        for token in vocabulary.tokens() {
            piece.clear();
            vocabulary.token_to_piece_into(token, &mut piece, true, None);
            longest = longest.max(piece.len());
            let attributes = vocabulary.attr(token);
            let control =
                attributes.contains(LlamaTokenAttr::Control) || attributes.contains(LlamaTokenAttr::Unknown);
            if control
                && let Some(Ok(text)) = vocabulary.text(token).map(|text| text.to_str())
                && !text.is_empty()
            {
                texts.push(text.to_owned());
            }
        }
        self.control_texts = texts;
        self.longest_piece = longest;
    }

    fn vocabulary(&self) -> LlamaVocab<'_> {
        self.model.vocab()
    }

    /// A context to decode in. One at a time: creating several at once is unsound in llama.cpp.
    pub(crate) fn open(&self, params: LlamaContextParams) -> anyhow::Result<LlamaContext<'_>> {
        self.model
            .new_context(&self.backend, params)
            .context("cannot allocate the context; ask for fewer --slots or --ctx")
    }

    /// Text to tokens. `control`: control tokens written out in the text (`<|im_end|>`) become
    /// those tokens; otherwise they are text like any other. Nothing is put before or after.
    pub(crate) fn tokenise(&self, text: &str, control: bool) -> Vec<LlamaToken> {
        if text.is_empty() {
            return Vec::new();
        }
        self.vocabulary().tokenize(text.as_bytes(), false, control)
    }

    /// Appends what a token stands for: bytes, perhaps a part of a character. Control tokens stand
    /// for nothing.
    pub(crate) fn piece(&self, token: LlamaToken, into: &mut Vec<u8>) {
        self.vocabulary().token_to_piece_into(token, into, false, None);
    }

    /// Whether the model ends its answer with this token.
    pub(crate) fn ends_answer(&self, token: LlamaToken) -> bool {
        self.vocabulary().is_eog(token)
    }

    /// The token that opens every prompt, if the model wants one.
    pub(crate) fn opening_token(&self) -> Option<LlamaToken> {
        let vocabulary = self.vocabulary();
        let token = vocabulary.bos();
        (vocabulary.should_add_bos() && token.0 >= 0).then_some(token)
    }

    /// How the begin and end tokens are written, for templates that write them.
    pub(crate) fn boundary_texts(&self) -> (String, String) {
        let vocabulary = self.vocabulary();
        let written = |token: LlamaToken| {
            if token.0 < 0 {
                return String::new();
            }
            vocabulary
                .text(token)
                .map(|text| text.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        (written(vocabulary.bos()), written(vocabulary.eos()))
    }

    /// How control tokens are written: what a request must not be able to say in the model's ear.
    pub(crate) fn control_texts(&self) -> &[String] {
        &self.control_texts
    }

    /// Bytes of the longest token, so that text of N bytes has at least N / this many.
    pub(crate) fn longest_piece(&self) -> usize {
        self.longest_piece
    }

    /// Number of tokens in the vocabulary.
    pub(crate) fn vocabulary_size(&self) -> i32 {
        self.vocabulary().n_tokens()
    }

    /// Longest conversation the model was trained on.
    pub(crate) fn trained_length(&self) -> u32 {
        self.model.n_ctx_train()
    }

    /// The chat template that the file carries.
    pub(crate) fn template(&self) -> Option<String> {
        self.model
            .meta_val_str("tokenizer.chat_template")
            .ok()
            .filter(|source| !source.trim().is_empty())
    }
}

/// llama.cpp's global state.
fn start_backend() -> anyhow::Result<LlamaBackend> {
    #[cfg(feature = "dynamic-backends")]
    load_kernels();
    LlamaBackend::init().context("llama.cpp cannot start")
}

/// Loads the kernels that fit this CPU: from `backends/` beside the program, where an image keeps
/// them, else from where they were built.
#[cfg(feature = "dynamic-backends")]
fn load_kernels() {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.join("backends")));
    match beside.filter(|folder| folder.is_dir()) {
        Some(folder) => llama_cpp_2::llama_backend::load_backends_from_path(&folder),
        None => llama_cpp_2::llama_backend::load_backends(),
    }
}
