//! `--model` and `--lora`: which weights, under which names, with which limits.

use std::{num::NonZeroU32, path::PathBuf, str::FromStr};

/// Letters that a name may have, which clients send as `model`.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':' | b'+'))
}

/// Weights to serve: `[NAME=]FILE[,slots=N][,ctx=N][,chunk=N][,gpu-layers=N][,keep-alive=SECONDS]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelFile {
    /// None for the file's own name.
    pub(crate) name: Option<String>,
    pub(crate) file: PathBuf,
    pub(crate) slots: Option<u32>,
    pub(crate) ctx: Option<NonZeroU32>,
    pub(crate) chunk: Option<u32>,
    pub(crate) gpu_layers: Option<u32>,
    /// Seconds that it stays loaded without being asked; none for ever.
    pub(crate) keep_alive: Option<u64>,
}

impl FromStr for ModelFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let (name, file) = named(parts.next().unwrap_or_default());
        if file.is_empty() {
            return Err("names no file".to_owned());
        }
        if let Some(name) = name.filter(|name| !is_name(name)) {
            return Err(format!("`{name}` is no name: letters, digits and . _ - : + are"));
        }
        let mut model = Self {
            name: name.map(str::to_owned),
            file: file.into(),
            slots: None,
            ctx: None,
            chunk: None,
            gpu_layers: None,
            keep_alive: None,
        };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let number: u64 = value.parse().map_err(|_| format!("`{key}` needs a number"))?;
            let small = |range: std::ops::RangeInclusive<u64>| {
                let fits = range
                    .contains(&number)
                    .then(|| u32::try_from(number).ok())
                    .flatten();
                fits.ok_or_else(|| format!("`{key}` must be {} to {}", range.start(), range.end()))
            };
            match key {
                "slots" => model.slots = Some(small(1..=64)?),
                "ctx" => model.ctx = NonZeroU32::new(small(1..=1 << 24)?),
                "chunk" => model.chunk = Some(small(8..=2048)?),
                "gpu-layers" => model.gpu_layers = Some(small(0..=10_000)?),
                "keep-alive" => model.keep_alive = Some(number),
                _ => {
                    return Err(format!(
                        "`{key}` is not known: slots, ctx, chunk, gpu-layers, keep-alive are"
                    ));
                }
            }
        }
        Ok(model)
    }
}

/// An adapter: `[MODEL:]NAME=FILE[@SCALE]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoraFile {
    /// The model that it belongs to; none for the first.
    pub(crate) model: Option<String>,
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) scale: f32,
}

impl FromStr for LoraFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = named(text);
        let name = name.ok_or("is written NAME=FILE")?;
        let (model, name) = match name.rsplit_once(':') {
            Some((model, name)) => (Some(model), name),
            None => (None, name),
        };
        if !is_name(name) || model.is_some_and(|model| !is_name(model)) {
            return Err("names are letters, digits and . _ - +".to_owned());
        }
        let (file, scale) = match file.rsplit_once('@') {
            Some((file, scale)) => (
                file,
                scale.parse().map_err(|_| "the scale is a number".to_owned())?,
            ),
            None => (file, 1.0),
        };
        if file.is_empty() || !(0.0..=10.0).contains(&scale) {
            return Err("needs a file, and a scale of 0 to 10".to_owned());
        }
        Ok(Self {
            model: model.map(str::to_owned),
            name: name.to_owned(),
            file: file.into(),
            scale,
        })
    }
}

/// `NAME=FILE`; a path may hold an equals sign where what is before it is a part of a path.
fn named(text: &str) -> (Option<&str>, &str) {
    match text.split_once('=') {
        Some((name, file)) if !name.contains('/') => (Some(name), file),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_a_name_a_file_and_limits() {
        let model: ModelFile = "coder=/models/a=b.gguf,slots=2,ctx=2048,keep-alive=600"
            .parse()
            .unwrap();
        assert_eq!(model.name.as_deref(), Some("coder"));
        assert_eq!(model.file.as_os_str(), "/models/a=b.gguf");
        assert_eq!((model.slots, model.keep_alive), (Some(2), Some(600)));
        let plain: ModelFile = "/x=y/a.gguf".parse().unwrap();
        assert_eq!(
            (plain.name, plain.file.as_os_str()),
            (None, "/x=y/a.gguf".as_ref())
        );
        for wrong in ["", "a b=f", "f,slots=0", "f,slots=x", "f,what=1", "f,ctx=0"] {
            assert!(wrong.parse::<ModelFile>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_adapter_has_a_name_and_perhaps_a_model_and_a_scale() {
        let lora: LoraFile = "coder:legal=/l.gguf@0.5".parse().unwrap();
        assert_eq!(
            (lora.model.as_deref(), lora.name.as_str(), lora.scale),
            (Some("coder"), "legal", 0.5)
        );
        let lora: LoraFile = "legal=/l.gguf".parse().unwrap();
        assert_eq!((lora.model, lora.scale), (None, 1.0));
        for wrong in ["/l.gguf", "a=", "a=/l@x", "a b=/l", "a=/l@11"] {
            assert!(wrong.parse::<LoraFile>().is_err(), "{wrong}");
        }
    }
}
