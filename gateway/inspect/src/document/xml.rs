//! XML as office documents hold it: a flat run of events, with depth and declarations checked.
//!
//! Entities other than the five of XML itself are never expanded, and a document type declaration is
//! refused, as no office format has one and what it declares could hide text from us.
//!
//! On failure: a document that is not well-formed, or too deep, is an error; what came before it counts
//! for nothing.

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

use super::{Limits, Problem, plain};

const BROKEN: Problem = Problem::Damaged("its XML is not well-formed");

/// What happens along an XML document. Names are without their prefix.
pub(super) enum Step<'a> {
    Start(&'a str, Attributes<'a>),
    Text(&'a str),
    End(&'a str),
}

/// Attributes of an element.
pub(super) struct Attributes<'a>(&'a BytesStart<'a>);

impl Attributes<'_> {
    /// Each name without prefix, with its value.
    pub(super) fn each(&self, mut take: impl FnMut(&str, &str)) -> Result<(), Problem> {
        for attribute in self.0.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| BROKEN)?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let name: &str = attribute.key.local_name().into_inner();
            match quick_xml::escape::unescape(&attribute.value) {
                Ok(value) => take(name, &value),
                // An entity that nobody declared: what is written there is all that it can say.
                Err(_) => take(name, &attribute.value),
            }
        }
        Ok(())
    }

    /// The value of one of them.
    pub(super) fn value(&self, wanted: &str) -> Result<Option<String>, Problem> {
        let mut found = None;
        self.each(|name, value| {
            if name == wanted {
                found = Some(value.to_owned());
            }
        })?;
        Ok(found)
    }
}

/// Walks through a document.
pub(super) fn walk(
    bytes: &[u8],
    limits: &Limits,
    mut take: impl FnMut(Step<'_>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let text = plain::decode(bytes).ok_or(BROKEN)?;
    let mut reader = Reader::from_str(&text);
    reader.config_mut().expand_empty_elements = true;
    let mut depth = 0_usize;
    loop {
        match reader.read_event().map_err(|_| BROKEN)? {
            Event::Start(start) => {
                depth += 1;
                if depth > limits.xml_depth {
                    return Err(Problem::Limit("XML elements within elements"));
                }
                let name = start.local_name();
                take(Step::Start(name.into_inner(), Attributes(&start)))?;
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                take(Step::End(end.local_name().into_inner()))?;
            }
            Event::Text(text) => take(Step::Text(&text.xml10_content()))?,
            Event::CData(text) => take(Step::Text(&text.xml10_content()))?,
            Event::GeneralRef(reference) => {
                if let Ok(Some(c)) = reference.resolve_char_ref() {
                    take(Step::Text(c.encode_utf8(&mut [0; 4])))?;
                } else {
                    let name = reference.into_inner();
                    match quick_xml::escape::resolve_xml_entity(&name) {
                        Some(text) => take(Step::Text(text))?,
                        None => take(Step::Text(&format!("&{name};")))?,
                    }
                }
            }
            Event::DocType(_) => return Err(Problem::Unsupported("XML that declares its own entities")),
            Event::Eof if depth > 0 => return Err(BROKEN),
            Event::Eof => return Ok(()),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}
