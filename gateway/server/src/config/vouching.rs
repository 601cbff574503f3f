//! Who else vouches for the audit's checkpoints, and where they are published.

use std::path::{Path, PathBuf};

use cordon_audit::note::{Algorithm, VerifyingKey};
use http::Uri;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Aws;

/// A witness, which cosigns checkpoints elsewhere.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WitnessedBy {
    /// Its URL, under which `add-checkpoint` is asked for.
    pub url: String,
    /// The key that its cosignatures are verified by, `name+id+base64`, as `cordon audit witness` prints it.
    pub key: String,
}

/// Where checkpoints are published.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Publication {
    /// A folder, best one that others hold or copy from.
    Directory(PathBuf),
    /// A bucket that speaks S3.
    Bucket(Bucket),
}

/// A bucket that speaks S3.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// The bucket's URL, with a prefix of names where there is to be one.
    pub url: String,
    /// Credentials that may put objects, with `service: s3`. Files of them are read at the start.
    pub aws: Aws,
}

/// An authority that puts time stamps on checkpoints (RFC 3161).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timestamps {
    /// Its URL.
    pub url: String,
    /// A tree's checkpoints are stamped at most once in so many seconds.
    #[serde(default = "hourly")]
    #[schemars(range(min = 1))]
    pub every_seconds: u64,
}

fn hourly() -> u64 {
    3600
}

impl WitnessedBy {
    /// The key, which is one of a witness once the configuration was checked.
    pub fn verifying_key(&self) -> Option<VerifyingKey> {
        let key: VerifyingKey = self.key.parse().ok()?;
        (key.algorithm() == Algorithm::Cosignature).then_some(key)
    }

    pub(super) fn fault(&self) -> Option<String> {
        if self.verifying_key().is_none() {
            let what = "`key` of a witness is `name+id+base64`, as `cordon audit witness` prints it";
            return Some(what.to_owned());
        }
        url_fault("witnesses", &self.url)
    }
}

impl Publication {
    /// Makes relative paths count from `base` and reads what stands elsewhere; says what is wrong.
    pub(super) fn resolve(&mut self, base: &Path) -> Option<String> {
        let bucket = match self {
            Self::Directory(path) => {
                *path = base.join(&*path);
                return None;
            }
            Self::Bucket(bucket) => bucket,
        };
        for setting in bucket.aws.settings() {
            if let Err(message) = setting.resolve(base) {
                return Some(format!("`aws` of a bucket: {message}"));
            }
        }
        let uri: Option<Uri> = bucket.url.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        let named = bucket.aws.region.is_some() || crate::upstream::region(host).is_some();
        if bucket.aws.service != "s3" || !named {
            let what = "`aws` of a bucket needs `service: s3`, and a `region` where its host names none";
            return Some(what.to_owned());
        }
        url_fault("bucket", &bucket.url)
    }
}

impl Timestamps {
    pub(super) fn fault(&self) -> Option<String> {
        if self.every_seconds == 0 {
            return Some("`every_seconds` of `timestamps` must be at least 1".to_owned());
        }
        url_fault("timestamps", &self.url)
    }
}

fn url_fault(of: &str, url: &str) -> Option<String> {
    let uri: Option<Uri> = url.parse().ok();
    let good = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none()
    });
    (!good).then(|| format!("`url` of `{of}` begins with http:// or https://, and has no query"))
}
