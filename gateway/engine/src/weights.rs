//! The model file and its vocabulary: text to tokens and back.
//!
//! Leaves decoding to [`crate::scheduler`] and the conversation's form to [`crate::prompt`].
//!
//! On failure: loading gives an error that names the file; after that nothing here fails.

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use llama_cpp_2::{
    context::{
        LlamaContext,
        params::{LlamaContextParams, LlamaPoolingType},
    },
    llama_backend::LlamaBackend,
    model::{LlamaLoraAdapter, LlamaModel, params::LlamaModelParams},
    token::LlamaToken,
    token_type::LlamaTokenAttr,
    vocab::LlamaVocab,
};
use tokio_util::sync::CancellationToken;

use crate::args::LoraFile;

/// A loaded model. Shared read-only by all threads.
pub(crate) struct Weights {
    // Dropped in this order: the backend outlives what runs on it.
    model: LlamaModel,
    backend: Arc<LlamaBackend>,
    /// With its strength; of the decode thread alone, in whose context they are set.
    adapters: Vec<Mutex<(LlamaLoraAdapter, f32)>>,
    control_texts: Vec<String>,
    ends: Vec<i32>,
    /// Control tokens that are told as text, since they mark parts of an answer.
    spoken: HashSet<i32>,
    longest_piece: usize,
}

impl Weights {
    /// Loads a GGUF file and the adapters that go with it. `gpu_layers` `None` puts all layers on a GPU, where the build has one.
    /// Large weights take a while; cancelling `give_up` makes this fail at the next tensor.
    pub(crate) fn load(
        backend: &Arc<LlamaBackend>,
        file: &Path,
        gpu_layers: Option<u32>,
        adapters: &[LoraFile],
        give_up: CancellationToken,
    ) -> anyhow::Result<Self> {
        if !file.is_file() {
            bail!("{} is not a file", file.display());
        }
        if gpu_layers.is_some_and(|layers| layers > 0) && !backend.supports_gpu_offload() {
            tracing::warn!("--gpu-layers has no effect: this build has no GPU, or none is present");
        }
        let params = LlamaModelParams::default()
            .with_n_gpu_layers(gpu_layers.unwrap_or(u32::MAX))
            .with_progress_callback(move |_| !give_up.is_cancelled());
        let mut model = LlamaModel::load_from_file(backend, file, &params)
            .with_context(|| format!("cannot load {} as GGUF weights", file.display()))?;
        // Before there is any context, as llama.cpp notes the adapters in the model.
        let mut loaded = Vec::with_capacity(adapters.len());
        for LoraFile {
            name, file, scale, ..
        } in adapters
        {
            if !file.is_file() {
                bail!("adapter {name}: {} is not a file", file.display());
            }
            let adapter = model.lora_adapter_init(file).with_context(|| {
                format!(
                    "adapter {name}: {} is no LoRA adapter of these weights",
                    file.display()
                )
            })?;
            loaded.push(Mutex::new((adapter, *scale)));
        }
        let mut weights = Self {
            model,
            backend: Arc::clone(backend),
            adapters: loaded,
            control_texts: Vec::new(),
            ends: Vec::new(),
            spoken: HashSet::new(),
            longest_piece: 1,
        };
        weights.survey_vocabulary();
        Ok(weights)
    }

    fn survey_vocabulary(&mut self) {
        let vocabulary = self.model.vocab();
        let (mut texts, mut ends) = (Vec::new(), Vec::new());
        let mut longest = 1;
        let mut piece = Vec::with_capacity(256);
        for token in vocabulary.tokens() {
            piece.clear();
            vocabulary.token_to_piece_into(token, &mut piece, true, None);
            longest = longest.max(piece.len());
            if vocabulary.is_eog(token) {
                ends.push(token.0);
            }
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
        self.ends = ends;
        self.longest_piece = longest;
    }

    fn vocabulary(&self) -> LlamaVocab<'_> {
        self.model.vocab()
    }

    /// A context to decode in. One at a time: creating several at once is unsound in llama.cpp.
    pub(crate) fn open(&self, params: LlamaContextParams) -> anyhow::Result<LlamaContext<'_>> {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        self.model
            .new_context(&self.backend, params)
            .context("cannot allocate the context; ask for fewer --slots or --ctx")
    }

    /// Whether the weights go on from a text. Those made for embedding look at all of it at once, and keep nothing to go on from.
    pub(crate) fn generates(&self) -> bool {
        let of_architecture = |key: &str| {
            let architecture = self.model.meta_val_str("general.architecture").ok()?;
            self.model.meta_val_str(&format!("{architecture}.{key}")).ok()
        };
        let looks_ahead = of_architecture("attention.causal").is_some_and(|causal| causal == "false");
        let pools = !matches!(self.pooling(), None | Some(LlamaPoolingType::None));
        !looks_ahead && !pools
    }

    /// How many adapters there are.
    pub(crate) fn adapters(&self) -> usize {
        self.adapters.len()
    }

    /// Has the context decode with one of the adapters, or with none, from here on.
    pub(crate) fn adapt(&self, context: &mut LlamaContext<'_>, adapter: Option<usize>) -> anyhow::Result<()> {
        match adapter {
            Some(index) => {
                let adapter = self.adapters.get(index).context("no such adapter")?;
                let mut adapter = adapter.lock().unwrap_or_else(PoisonError::into_inner);
                let scale = adapter.1;
                Ok(context.lora_adapter_set(&mut adapter.0, scale)?)
            }
            // Which one is given does not matter: all are taken off.
            None => match self.adapters.first() {
                None => Ok(()),
                Some(any) => {
                    let mut any = any.lock().unwrap_or_else(PoisonError::into_inner);
                    Ok(context.lora_adapter_remove(&mut any.0)?)
                }
            },
        }
    }

    /// Text to tokens. `control`: control tokens written out in the text (`<|im_end|>`) become
    /// those tokens; otherwise they are text like any other. Nothing is put before or after.
    pub(crate) fn tokenise(&self, text: &str, control: bool) -> Vec<LlamaToken> {
        if text.is_empty() {
            return Vec::new();
        }
        self.vocabulary().tokenize(text.as_bytes(), false, control)
    }

    /// A text as the model reads one that stands alone: with what it wants at the beginning and the end. No control token can be
    /// written in it.
    pub(crate) fn tokenise_whole(&self, text: &str) -> Vec<LlamaToken> {
        self.vocabulary().tokenize(text.as_bytes(), true, false)
    }

    /// How the weights want tokens' vectors to become a text's; none where they say nothing of it.
    pub(crate) fn pooling(&self) -> Option<LlamaPoolingType> {
        let architecture = self.model.meta_val_str("general.architecture").ok()?;
        let kind = self
            .model
            .meta_val_str(&format!("{architecture}.pooling_type"))
            .ok()?;
        kind.parse::<i32>().ok().map(LlamaPoolingType::from)
    }

    /// Has these marks told as text although they are control tokens.
    pub(crate) fn speak(&mut self, marks: &[&str]) {
        let tokens = marks
            .iter()
            .filter_map(|mark| match self.tokenise(mark, true)[..] {
                [only] => Some(only.0),
                _ => None,
            });
        self.spoken = tokens.collect();
    }

    /// Appends what a token stands for: bytes, perhaps a part of a character. Control tokens stand
    /// for nothing, but for those that are [spoken](Self::speak).
    pub(crate) fn piece(&self, token: LlamaToken, into: &mut Vec<u8>) {
        let control = self.spoken.contains(&token.0);
        self.vocabulary().token_to_piece_into(token, into, control, None);
    }

    /// Whether the model ends its answer with this token.
    pub(crate) fn ends_answer(&self, token: LlamaToken) -> bool {
        self.vocabulary().is_eog(token)
    }

    /// The tokens that end an answer, in rising order.
    pub(crate) fn ends(&self) -> &[i32] {
        &self.ends
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

/// llama.cpp's global state, of which a process has one.
pub(crate) fn start_backend() -> anyhow::Result<LlamaBackend> {
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
