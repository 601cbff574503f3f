//! Writes checkpoints where others can take them from: a folder, or a bucket that speaks S3.
//!
//! Under the names of the tree there is `checkpoint`, the newest, and a file of each size. A file is written aside and renamed, so who reads it finds
//! all of it. A checkpoint is written again when cosignatures have come.
//!
//! On failure: [`PublishFault`].

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use cordon_audit::Published;
use http::{Method, Request, StatusCode, header};

use super::{Desk, Line, LineError, Vouches};
use crate::{
    config,
    upstream::{Signer, UpstreamError},
};

/// What of a checkpoint is published: its size, and how many have signed it.
type Mark = (u64, usize);

fn mark(published: &Published) -> Mark {
    (published.checkpoint.size, published.note.signatures().len())
}

/// The names under which a tree's checkpoints lie. An origin is a path of plain words; what is none is spelled so that it becomes one.
fn names(origin: &str) -> String {
    let name = |part: &str| -> String {
        // Dots alone would lead elsewhere, and nothing alone nowhere.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let dots = part.bytes().all(|byte| byte == b'.');
        let spelled = |byte: u8| match plain(byte) && !dots {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        match part {
            "" => "%".to_owned(),
            part => part.bytes().map(spelled).collect(),
        }
    };
    origin.split('/').map(name).collect::<Vec<_>>().join("/")
}

/// A folder.
pub(super) struct Folder {
    path: PathBuf,
    shown: String,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            shown: path.display().to_string(),
            path,
        }
    }
}

impl Vouches for Folder {
    type Mark = Mark;
    type Fault = PublishFault;

    const KIND: &'static str = "directory";

    fn name(&self) -> &str {
        &self.shown
    }

    fn mark(&self, published: &Published) -> Mark {
        mark(published)
    }

    async fn take(&mut self, published: &Published) -> Result<(), PublishFault> {
        let text = published.note.to_string();
        for name in [published.checkpoint.size.to_string(), "checkpoint".to_owned()] {
            put(
                &self.path,
                &published.checkpoint.origin,
                &name,
                text.clone().into(),
            )
            .await?;
        }
        Ok(())
    }
}

/// Writes a file of a tree into a folder that checkpoints are published to.
pub(super) async fn put(folder: &Path, origin: &str, name: &str, bytes: Vec<u8>) -> Result<(), PublishFault> {
    let folder = folder.join(names(origin));
    let name = name.to_owned();
    let written = tokio::task::spawn_blocking(move || write(&folder, &name, &bytes)).await;
    Ok(written.map_err(|_| io::Error::other("a defect: something panicked"))??)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let aside = folder.join(format!(".{name}.new"));
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// A bucket that speaks S3.
pub(super) struct Bucket {
    desk: Desk,
    line: Line,
    url: String,
    signer: Signer,
}

impl Bucket {
    pub(super) fn new(desk: Desk, line: Line, configured: &config::Bucket) -> Result<Self, UpstreamError> {
        Ok(Self {
            desk,
            line,
            url: configured.url.trim_end_matches('/').to_owned(),
            signer: Signer::new(&configured.aws)?,
        })
    }

    async fn object(&self, name: &str, text: &str) -> Result<(), PublishFault> {
        let mut request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{}/{name}", self.url))
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(Bytes::copy_from_slice(text.as_bytes()))
            .map_err(|_| UpstreamError::Unsendable)?;
        self.signer.sign(&mut request, self.desk.clock.now())?;
        match self.line.send(request).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, _) => Err(PublishFault::Refused(status)),
        }
    }
}

impl Vouches for Bucket {
    type Mark = Mark;
    type Fault = PublishFault;

    const KIND: &'static str = "bucket";

    fn name(&self) -> &str {
        &self.url
    }

    fn mark(&self, published: &Published) -> Mark {
        mark(published)
    }

    async fn take(&mut self, published: &Published) -> Result<(), PublishFault> {
        let (names, text) = (names(&published.checkpoint.origin), published.note.to_string());
        self.object(&format!("{names}/{}", published.checkpoint.size), &text)
            .await?;
        self.object(&format!("{names}/checkpoint"), &text).await
    }
}

/// Why a checkpoint is not published.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishFault {
    #[error("it cannot be written: {0}")]
    File(#[from] io::Error),
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("the bucket answers with status {0}")]
    Refused(StatusCode),
    #[error(transparent)]
    Request(#[from] UpstreamError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        assert_eq!(
            names("cordon/acme-1/default/standard"),
            "cordon/acme-1/default/standard"
        );
        assert_eq!(names("../a//./.b"), "%2E%2E/a/%/%2E/.b");
        assert_eq!(names("/é b%"), "%/%C3%A9%20b%25");
    }
}
