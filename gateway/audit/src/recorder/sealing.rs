//! What happens to a recording before it reaches the spool: names become references, and payloads are sealed.
//!
//! On failure: [`AuditUnavailable::Keys`] where a payload cannot be sealed; a name that cannot be sealed yet stops nobody.

use std::sync::Arc;

use super::recording::{Item, Recording};
use crate::{
    attachment::Attachment,
    payload::{self, KeptPayload, Payload},
    pseudonym::Pseudonyms,
    record::{Body, WriterId},
    spool::AuditUnavailable,
    subject::{LiveKey, Subjects},
};

/// From so many bytes on a payload is compressed and sealed off the threads that serve requests.
const LARGE: usize = 64 << 10;

/// Pseudonyms of actors, and keys for what is kept of their exchanges.
#[derive(Clone, Debug)]
pub struct Sealing {
    /// References in the place of names.
    pub pseudonyms: Pseudonyms,
    /// Keys that payloads and names are sealed under.
    pub subjects: Subjects,
}

/// A recording that may be written, and keys that are durable when it is.
pub(super) struct Prepared {
    pub(super) recording: Recording,
    pub(super) keys: Vec<Arc<LiveKey>>,
}

impl Sealing {
    pub(super) async fn prepare(
        &self,
        writer: WriterId,
        mut recording: Recording,
    ) -> Result<Prepared, AuditUnavailable> {
        let mut keys: Vec<Arc<LiveKey>> = Vec::new();
        let tenant = recording.tree.tenant().to_owned();
        let of_actor = recording.actor.take();
        for item in &mut recording.items {
            let named = self.pseudonyms.conceal(&mut item.body);
            let payload = item.payload.take();
            let subject = named.or_else(|| of_actor.as_deref().map(|actor| self.pseudonyms.subject(actor)));
            let key = match subject {
                Some(subject) if payload.is_some() => {
                    let key = self.subjects.key(&tenant, &subject).await;
                    Some(key.map_err(|_| AuditUnavailable::Keys)?)
                }
                Some(subject) if subject.is_person => self.subjects.ready(&tenant, &subject),
                Some(_) => None,
                None if payload.is_none() => None,
                None => return Err(AuditUnavailable::Keys),
            };
            let Some(key) = key else { continue };
            let mut is_named = payload.is_some();
            if let Some(payload) = payload {
                seal(item, payload, writer, &key).await?;
            }
            if !keys.iter().any(|known| Arc::ptr_eq(known, &key)) {
                let attachment = key.attachment();
                is_named |= attachment.is_some();
                item.attachments.extend(attachment);
                keys.push(Arc::clone(&key));
            }
            item.key = is_named.then(|| Box::new(key.named.clone()));
        }
        Ok(Prepared { recording, keys })
    }
}

async fn seal(
    item: &mut Item,
    payload: Payload,
    writer: WriterId,
    key: &Arc<LiveKey>,
) -> Result<(), AuditUnavailable> {
    let Some(exchange) = item.body.exchange() else {
        return Err(AuditUnavailable::Attachments);
    };
    let sealed = if payload.text.len() < LARGE {
        payload::seal(&payload, writer, exchange, &key.key)
    } else {
        let key = Arc::clone(key);
        let sealing = move || payload::seal(&payload, writer, exchange, &key.key);
        let sealed = tokio::task::spawn_blocking(sealing).await;
        sealed.map_err(|_| AuditUnavailable::Closed)?
    };
    let (kept, part) = sealed.map_err(|_| AuditUnavailable::Keys)?;
    keep(&mut item.body, kept)?;
    item.attachments.push(Attachment::Payload(part).encode());
    Ok(())
}

/// Notes in the record what is kept beside it.
fn keep(body: &mut Body, kept: KeptPayload) -> Result<(), AuditUnavailable> {
    let place = match body {
        Body::Intent(intent) => &mut intent.payload,
        Body::Seal(seal) => &mut seal.payload,
        _ => return Err(AuditUnavailable::Attachments),
    };
    *place = Some(Box::new(kept));
    Ok(())
}
