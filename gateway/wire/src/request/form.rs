//! `application/x-www-form-urlencoded`: each field's value at `form:NAME`, and its name where nobody knows it.
//!
//! A value that is JSON is walked into, like a string of JSON; what is put there is escaped and
//! percent-encoded again. A percent sign that starts no escape stands for itself, as browsers read it.
//!
//! On failure: a name or value that is not UTF-8 is refused.

use cordon_domain::Role;

use super::DecodeError;
use crate::{
    json::{Position, Spot, Walk, Writing},
    percent,
};

pub(super) fn read<P: Position>(walk: &mut Walk<'_>, source: &str, root: P) -> Result<(), DecodeError> {
    let mut start = 0;
    for field in source.split('&') {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let (known, name_spot) = decoded(name, start)?;
        let at = root.member(&known);
        let (text, spot) = decoded(value, start + name.len() + 1)?;
        if !root.knows(&known) {
            walk.word(Role::Other, format!("key:form:{known}"), known.clone(), name_spot)?;
        }
        if !text.is_empty() {
            walk.piece(at, &mut format!("form:{known}"), text, spot)?;
        }
        start += field.len() + 1;
    }
    Ok(())
}

fn decoded(raw: &str, start: usize) -> Result<(String, Spot), DecodeError> {
    let (text, map) = percent::form_text(raw).ok_or(DecodeError::Malformed {
        what: "a form in UTF-8",
    })?;
    let spot = Spot {
        start,
        map,
        writing: Writing::Form,
    };
    Ok((text, spot))
}
