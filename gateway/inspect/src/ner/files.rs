//! The files that a classifier is made of, and what can be wrong with them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The files that make a classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NerFiles {
    /// The classifier: an ONNX graph with `input_ids`, `attention_mask` and perhaps `token_type_ids`,
    /// giving `[1, tokens, labels]`, or a GLiNER with `words_mask`, `text_lengths`, `span_idx` and `span_mask` besides,
    /// giving `[1, words, width, classes]`.
    pub classifier: PathBuf,
    /// Its tokenizer, in the form of the `tokenizers` library.
    pub tokenizer: PathBuf,
    /// Its labels: a JSON object with `id2label`; for a GLiNER its `gliner_config.json`.
    pub labels: PathBuf,
    /// ONNX Runtime's shared library, 1.24 or later.
    pub runtime: PathBuf,
    /// What labels stand for that are not known, or meant otherwise: a label, without `B-` or `I-`, and `PERSON`,
    /// `ADDRESS`, `LOCATION`, `POSTAL_CODE`, `ORGANIZATION` or `NONE`. A GLiNER is asked for exactly these labels, and
    /// for the usual ones where there is none.
    pub meanings: BTreeMap<String, String>,
}

impl NerFiles {
    /// The files of a folder, by their usual names.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let asked = folder.join("gliner_config.json");
        let labels = if asked.is_file() {
            asked
        } else {
            folder.join("config.json")
        };
        Self {
            classifier: folder.join("model.onnx"),
            tokenizer: folder.join("tokenizer.json"),
            labels,
            runtime: folder.join("libonnxruntime.so"),
            meanings: BTreeMap::new(),
        }
    }

    /// The first of them that is not there.
    #[must_use]
    pub fn missing(&self) -> Option<&Path> {
        [&self.classifier, &self.tokenizer, &self.labels, &self.runtime]
            .into_iter()
            .map(PathBuf::as_path)
            .find(|path| !path.is_file())
    }
}

/// A classifier could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum NerError {
    /// A file is not there.
    #[error("there is no {0}")]
    Missing(PathBuf),
    /// The library does not load, or is too old.
    #[error("{0} is no ONNX Runtime that can be used: {1}")]
    Runtime(PathBuf, String),
    /// The graph does not load, or does not fit the labels.
    #[error("{0} is no token classifier that can be used: {1}")]
    Classifier(PathBuf, String),
    /// The tokenizer does not load.
    #[error("{0} is no tokenizer that can be used: {1}")]
    Tokenizer(PathBuf, String),
    /// The labels do not read, or none of them is of a name or a place.
    #[error("{0} names no labels that can be used: {1}")]
    Labels(PathBuf, String),
    /// A label is said to stand for what the classifier is not asked about.
    #[error(
        "the label `{0}` cannot stand for `{1}`: name PERSON, ADDRESS, LOCATION, POSTAL_CODE, ORGANIZATION or NONE"
    )]
    Meaning(String, String),
}
