//! Mails (EML) and mailboxes (MBOX): headers, bodies and attachments.
//!
//! Headers are a text of their own, `!/headers`, with encoded words decoded; `msip_labels` is found there.
//! Each body is a part, HTML with what only its source shows beside it. An attachment is read as a file of
//! its own, a mail within a mail as well.
//!
//! What stands before the first and after the last part of a mail is not read, as no program shows it.
//!
//! Limits: [`MOST_PARTS`] parts in a mail, as its reader is recursive when it lets go of mails within mails.
//!
//! On failure: an encrypted mail fails the whole document.

use std::fmt::Write;

use mail_parser::{HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use memchr::memmem;

use super::{
    Problem,
    extraction::{Extraction, Outcome, inside, isolated},
    html,
};

/// Parts of one mail with all mails inside it.
const MOST_PARTS: usize = 1000;

pub(super) fn read(run: &mut Extraction<'_>, path: &str, bytes: &[u8]) -> Outcome {
    const HEADER: &[u8] = b"content-type";
    // A part of another type than its surroundings has this header, which cannot be folded.
    let starts = bytes
        .windows(HEADER.len())
        .filter(|found| found.eq_ignore_ascii_case(HEADER));
    if starts.take(MOST_PARTS + 1).count() > MOST_PARTS {
        return Err(Problem::Limit("parts of a mail").into());
    }
    let message = isolated(|| {
        MessageParser::new()
            .with_mime_headers()
            .default_header_text()
            .parse(bytes)
            .ok_or(Problem::Damaged("the mail has no headers"))
    })?;
    mail(run, path, &message)
}

fn mail(run: &mut Extraction<'_>, path: &str, message: &Message<'_>) -> Outcome {
    let mut headers = String::new();
    let mut bodies = 0;
    for (number, part) in message.parts.iter().enumerate() {
        run.entry()?;
        say_headers(message, part, &mut headers);
        protected(part)?;
        let name = part.attachment_name();
        let or_number = || name.map_or_else(|| format!("attachment {number}"), str::to_owned);
        match &part.body {
            PartType::Multipart(_) => {}
            PartType::Text(text) | PartType::Html(text) if name.is_some() => {
                run.nested(path, &or_number(), text.as_bytes())?;
            }
            PartType::Text(text) => {
                bodies += 1;
                run.say(inside(path, &format!("text {bodies}")), text.to_string())?;
            }
            PartType::Html(page) => {
                bodies += 1;
                html::read(run, &inside(path, &format!("text {bodies}")), page)?;
            }
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => {
                run.unpacked(bytes.len())?;
                run.nested(path, &or_number(), bytes)?;
            }
            PartType::Message(inner) => {
                let path = inside(
                    path,
                    &name.map_or_else(|| format!("mail {number}"), str::to_owned),
                );
                run.deeper(&path, |run| mail(run, &path, inner))?;
            }
        }
    }
    run.say(inside(path, "headers"), headers)
}

/// Whether a part is closed to us.
fn protected(part: &MessagePart<'_>) -> Result<(), Problem> {
    let Some(kind) = part.content_type() else {
        return Ok(());
    };
    let is = |main: &str, sub: &str| {
        kind.ctype().eq_ignore_ascii_case(main)
            && kind.subtype().is_some_and(|one| one.eq_ignore_ascii_case(sub))
    };
    let signed = kind
        .attribute("smime-type")
        .is_some_and(|one| one.eq_ignore_ascii_case("signed-data"));
    if is("multipart", "encrypted")
        || ((is("application", "pkcs7-mime") || is("application", "x-pkcs7-mime")) && !signed)
    {
        return Err(Problem::Encrypted);
    }
    Ok(())
}

fn say_headers(message: &Message<'_>, part: &MessagePart<'_>, into: &mut String) {
    for header in &part.headers {
        let _ = write!(into, "{}: ", header.name());
        match header.value() {
            HeaderValue::Text(text) => into.push_str(text),
            HeaderValue::TextList(texts) => into.push_str(&texts.join(", ")),
            _ => {
                let raw = message
                    .raw_message
                    .get(header.offset_start() as usize..header.offset_end() as usize);
                let raw = String::from_utf8_lossy(raw.unwrap_or_default());
                for (index, word) in raw.split_ascii_whitespace().enumerate() {
                    into.push_str(if index == 0 { "" } else { " " });
                    into.push_str(word);
                }
            }
        }
        into.push('\n');
    }
}

/// A mailbox: mails, each after a line that starts with `From ` and ends with a date.
pub(super) fn mailbox(run: &mut Extraction<'_>, path: &str, bytes: &[u8]) -> Outcome {
    let mut starts = vec![0];
    for at in memmem::find_iter(bytes, b"\nFrom ") {
        if is_envelope(&bytes[at + 1..]) {
            starts.push(at + 1);
        }
    }
    starts.push(bytes.len());
    let mut envelopes = String::new();
    for (index, pair) in starts.windows(2).enumerate() {
        run.entry()?;
        let mail = &bytes[pair[0]..pair[1]];
        let line = memchr::memchr(b'\n', mail).map_or(mail.len(), |end| end + 1);
        envelopes.push_str(&String::from_utf8_lossy(&mail[..line]));
        run.nested(path, &format!("mail {}.eml", index + 1), &mail[line..])?;
    }
    run.say(inside(path, ""), envelopes)
}

/// Whether this starts with the line before a mail in a mailbox: an address, and a date with its time.
pub(super) fn is_envelope(bytes: &[u8]) -> bool {
    let line = &bytes[..bytes.len().min(256)];
    let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
    let has_time = line.windows(5).any(
        |five| matches!(five, [a, b, b':', c, d] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit())),
    );
    line.starts_with(b"From ") && has_time
}

/// Whether this starts with headers that only mails have.
pub(super) fn is_mail(start: &str) -> bool {
    const CERTAIN: [&str; 6] = [
        "received",
        "message-id",
        "mime-version",
        "return-path",
        "delivered-to",
        "dkim-signature",
    ];
    const LIKELY: [&str; 6] = ["from", "to", "subject", "date", "content-type", "cc"];
    let (mut certain, mut likely) = (0, 0);
    // The last line may be cut.
    let mut lines = start.lines();
    lines.next_back();
    for (index, line) in lines.enumerate() {
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) && index > 0 {
            continue;
        }
        let Some((name, _)) = line.split_once(':') else {
            return false;
        };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return false;
        }
        let is = |known: &[&str]| known.iter().any(|one| name.eq_ignore_ascii_case(one));
        certain += usize::from(is(&CERTAIN));
        likely += usize::from(is(&LIKELY));
    }
    certain > 0 && certain + likely > 1
}
