//! Values that may be secrets, and the company's credentials for Amazon, which are made of them.
//!
//! A value knows the file that it came from, so that it can be read from there again.
//!
//! On failure: a message that names the reference, never the value.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Deserialize;

/// A value that may be a secret: plain text, `${env:NAME}` or `${file:PATH}`.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Setting {
    value: String,
    /// Where it was read.
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl Setting {
    /// The value, once resolved.
    pub fn value(&self) -> &str {
        &self.value
    }

    pub(super) fn resolve(&mut self, base: &Path) -> Result<(), String> {
        let Some(inside) = self
            .value
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
        else {
            return Ok(());
        };
        let value = match inside.split_once(':') {
            Some(("env", name)) => super::variable(name)
                .ok_or_else(|| format!("environment variable {name} is not set or not UTF-8"))?,
            Some(("file", path)) => {
                let path = base.join(path);
                let value = read(&path)?;
                self.file = Some(path);
                value
            }
            _ => return Err("a reference is written ${env:NAME} or ${file:PATH}".to_owned()),
        };
        self.value = value.trim().to_owned();
        Ok(())
    }

    /// Takes it for the path of a file, unless it is a URL: a relative path counts from the configuration file's folder.
    pub(super) fn anchor(&mut self, base: &Path) {
        let path = self.value.strip_prefix("sqlite:").unwrap_or(&self.value);
        if !path.is_empty() && !self.value.contains("://") {
            self.value = base.join(path).display().to_string();
        }
    }

    /// What its file holds now, where it came from one. A file that is empty is about to be written.
    pub(crate) fn read_again(&self) -> Result<Self, String> {
        let Some(path) = &self.file else {
            return Ok(self.clone());
        };
        let value = read(path)?.trim().to_owned();
        if value.is_empty() {
            return Err(format!("{} is empty", path.display()));
        }
        Ok(Self {
            value,
            file: self.file.clone(),
        })
    }

    /// Whether it is written as another is: the same reference to a file, whatever that holds, or the same value.
    fn is_written_as(&self, other: &Self) -> bool {
        match (&self.file, &other.file) {
            (None, None) => self.value == other.value,
            (ours, theirs) => ours == theirs,
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {}", path.display(), error.kind()))
}

impl From<&str> for Setting {
    fn from(value: &str) -> Self {
        Self {
            value: value.to_owned(),
            file: None,
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Setting(..)")
    }
}

/// The company's credentials for Amazon. What of them is in files is read again when these change.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// Access key id, as `${env:NAME}` or `${file:PATH}`.
    pub access_key_id: Setting,
    /// Its secret, as `${env:NAME}` or `${file:PATH}`.
    pub secret_access_key: Setting,
    /// The token of temporary credentials, as `${file:PATH}`: all three are to be in files then, so that what replaces
    /// them is taken up.
    #[serde(default)]
    pub session_token: Option<Setting>,
    /// The region that is signed for; that of the host when absent.
    #[serde(default)]
    pub region: Option<String>,
    /// The service that is signed for.
    #[serde(default = "bedrock")]
    pub service: String,
}

fn bedrock() -> String {
    "bedrock".to_owned()
}

impl Aws {
    /// The values that are read from elsewhere.
    pub(super) fn settings(&mut self) -> impl Iterator<Item = &mut Setting> {
        [&mut self.access_key_id, &mut self.secret_access_key]
            .into_iter()
            .chain(&mut self.session_token)
    }

    /// Whether anything of it can change while Cordon runs.
    pub fn is_in_files(&self) -> bool {
        let mut all = [&self.access_key_id, &self.secret_access_key]
            .into_iter()
            .chain(&self.session_token);
        all.any(|setting| setting.file.is_some())
    }

    /// The same with what its files hold now.
    pub fn read_again(&self) -> Result<Self, String> {
        Ok(Self {
            access_key_id: self.access_key_id.read_again()?,
            secret_access_key: self.secret_access_key.read_again()?,
            session_token: self.session_token.as_ref().map(Setting::read_again).transpose()?,
            ..self.clone()
        })
    }

    /// Whether the values are the same, whatever the files' names.
    pub fn holds_the_same(&self, other: &Self) -> bool {
        let token = |of: &Self| of.session_token.as_ref().map(|token| token.value.clone());
        self.access_key_id.value == other.access_key_id.value
            && self.secret_access_key.value == other.secret_access_key.value
            && token(self) == token(other)
    }
}

/// Whether it is written the same: what files hold is taken up while Cordon runs, so it makes no other configuration.
impl PartialEq for Aws {
    fn eq(&self, other: &Self) -> bool {
        let token = match (&self.session_token, &other.session_token) {
            (Some(ours), Some(theirs)) => ours.is_written_as(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        token
            && self.access_key_id.is_written_as(&other.access_key_id)
            && self.secret_access_key.is_written_as(&other.secret_access_key)
            && self.region == other.region
            && self.service == other.service
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_is_read_again_and_makes_no_other_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("secret", "first\n");
        write("token", "one\n");
        let mut aws = Aws {
            access_key_id: "AKID".into(),
            secret_access_key: "${file:secret}".into(),
            session_token: Some("${file:token}".into()),
            region: None,
            service: bedrock(),
        };
        assert!(!aws.is_in_files());
        for setting in aws.settings() {
            setting.resolve(dir.path()).unwrap();
        }
        assert!(aws.is_in_files());
        assert!(aws.read_again().unwrap().holds_the_same(&aws));

        write("secret", "second\n");
        write("token", "two\n");
        let again = aws.read_again().unwrap();
        assert_eq!(again.secret_access_key.value(), "second");
        assert_eq!(again.session_token.as_ref().map(Setting::value), Some("two"));
        assert_eq!(again.access_key_id.value(), "AKID");
        assert!(!again.holds_the_same(&aws));
        assert!(again == aws, "it is written the same");
        let mut other = again.clone();
        other.access_key_id = "AKIE".into();
        assert!(other != aws);

        write("token", " \n");
        assert!(aws.read_again().unwrap_err().ends_with("token is empty"));
        fs::remove_file(dir.path().join("token")).unwrap();
        assert!(aws.read_again().unwrap_err().starts_with("cannot read "));
    }
}
