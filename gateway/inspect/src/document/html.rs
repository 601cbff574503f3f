//! Text out of HTML: what a reader of the page sees, and beside it what only its source shows.
//!
//! Visible text, with line ends where blocks end, is one part. Scripts, comments and processing
//! instructions are `!/source`, and values of attributes (links, alternative texts, values of fields)
//! `!/attributes`, as secrets lie there as well as in text. Only style sheets and attributes that are
//! about looks are dropped. Tags are read as browsers do it in the main: names without regard to case,
//! values with or without quotes, unknown entities left as they are.
//!
//! Limits: one pass from left to right, nothing is nested.
//!
//! On failure: there is no broken HTML; a tag that never ends is text.

use memchr::{memchr, memmem};
use quick_xml::escape::resolve_html5_entity;

use super::extraction::{Extraction, Outcome, inside};

/// Elements that end a line of text.
const BLOCKS: [&str; 36] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "br",
    "caption",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "option",
    "p",
    "section",
    "table",
    "title",
    "tr",
    "ul",
];

/// Attributes that say how things look or how elements are called.
const LOOKS: [&str; 12] = [
    "align", "border", "class", "color", "colspan", "height", "rel", "role", "rowspan", "style", "valign",
    "width",
];

pub(super) fn read(run: &mut Extraction<'_>, path: &str, html: &str) -> Outcome {
    let page = Page::of(html);
    run.say(path.to_owned(), page.text)?;
    run.say(inside(path, "attributes"), page.attributes)?;
    run.say(inside(path, "source"), page.source)
}

/// What a page says, by where it says it.
#[derive(Default)]
struct Page {
    text: String,
    attributes: String,
    source: String,
}

impl Page {
    fn of(html: &str) -> Self {
        let mut page = Self::default();
        let mut rest = html;
        while let Some(at) = memchr(b'<', rest.as_bytes()) {
            page.visible(&rest[..at]);
            rest = &rest[at..];
            rest = page.markup(rest);
        }
        page.visible(rest);
        page
    }

    /// Takes what starts with `<`, and returns what follows it.
    fn markup<'h>(&mut self, html: &'h str) -> &'h str {
        let until = |start: usize, end: &str| {
            memmem::find(&html.as_bytes()[start..], end.as_bytes()).map_or((html.len(), html.len()), |at| {
                (start + at, start + at + end.len())
            })
        };
        let other = if html.starts_with("<!--") {
            Some((4, until(4, "-->")))
        } else if html.starts_with("<![CDATA[") {
            Some((9, until(9, "]]>")))
        } else if html.starts_with("<?php") {
            Some((2, until(2, "?>")))
        } else if html.starts_with("<?") || html.starts_with("<!") {
            Some((2, until(2, ">")))
        } else {
            None
        };
        if let Some((start, (end, next))) = other {
            line(&mut self.source, &html[start..end]);
            return &html[next..];
        }
        if !html[1..]
            .strip_prefix('/')
            .unwrap_or(&html[1..])
            .starts_with(|c: char| c.is_ascii_alphabetic())
        {
            self.text.push('<');
            return &html[1..];
        }
        // To look for another tag inside one that never ends would take quadratic time.
        let Some((tag, after)) = Tag::of(html) else {
            self.visible(html);
            return "";
        };
        if BLOCKS.contains(&tag.name.as_str()) {
            self.end_line();
        } else if matches!(tag.name.as_str(), "td" | "th") && tag.closes {
            self.text.push('\t');
        }
        for (name, value) in tag.attributes {
            if !LOOKS.contains(&name.to_ascii_lowercase().as_str()) && !value.is_empty() {
                self.attributes.push_str(name);
                self.attributes.push_str(": ");
                unescape(value, &mut self.attributes);
                self.attributes.push('\n');
            }
        }
        if !tag.closes && matches!(tag.name.as_str(), "script" | "style") {
            let (inner, next) = raw(after, &tag.name);
            if tag.name == "script" {
                line(&mut self.source, inner);
            }
            return next;
        }
        after
    }

    /// Takes text between tags, whose white space counts once.
    fn visible(&mut self, text: &str) {
        let mut plain = String::with_capacity(text.len());
        unescape(text, &mut plain);
        for c in plain.chars() {
            if c.is_ascii_whitespace() {
                if !self.text.is_empty() && !self.text.ends_with([' ', '\n', '\t']) {
                    self.text.push(' ');
                }
            } else {
                self.text.push(c);
            }
        }
    }

    fn end_line(&mut self) {
        self.text.truncate(self.text.trim_end_matches([' ', '\t']).len());
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

fn line(into: &mut String, text: &str) {
    let text = text.trim();
    if !text.is_empty() {
        into.push_str(text);
        into.push('\n');
    }
}

struct Tag<'h> {
    name: String,
    closes: bool,
    attributes: Vec<(&'h str, &'h str)>,
}

impl<'h> Tag<'h> {
    /// The tag that a text starts with, and what follows it.
    fn of(html: &'h str) -> Option<(Self, &'h str)> {
        let bytes = html.as_bytes();
        let closes = bytes.get(1) == Some(&b'/');
        let start = 1 + usize::from(closes);
        let ends_name = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>' | b'=');
        let length = |from: usize, ends: &dyn Fn(&u8) -> bool| {
            bytes[from..]
                .iter()
                .position(ends)
                .map_or(bytes.len(), |many| from + many)
        };
        let mut at = length(start, &ends_name);
        let mut tag = Self {
            name: html[start..at].to_ascii_lowercase(),
            closes,
            attributes: Vec::new(),
        };
        loop {
            at = length(at, &|byte| !byte.is_ascii_whitespace() && *byte != b'/');
            match bytes.get(at) {
                None => return None,
                Some(b'>') => return Some((tag, &html[at + 1..])),
                Some(_) => {}
            }
            // A name may start with what ends other names, as browsers have it.
            let named = at;
            at = length(at + 1, &ends_name);
            let name = html.get(named..at).unwrap_or_default();
            let equals = length(at, &|byte| !byte.is_ascii_whitespace());
            if bytes.get(equals) != Some(&b'=') {
                continue;
            }
            at = length(equals + 1, &|byte| !byte.is_ascii_whitespace());
            let value = match bytes.get(at) {
                None => return None,
                Some(quote @ (b'"' | b'\'')) => {
                    let start = at + 1;
                    let end = start + memchr(*quote, &bytes[start..])?;
                    at = end + 1;
                    &html[start..end]
                }
                Some(_) => {
                    let start = at;
                    at = length(at, &|byte| byte.is_ascii_whitespace() || *byte == b'>');
                    &html[start..at]
                }
            };
            tag.attributes.push((name, value));
        }
    }
}

/// What stands before an element's end, in which nothing is markup, and what follows the end.
fn raw<'h>(html: &'h str, name: &str) -> (&'h str, &'h str) {
    let mut from = 0;
    while let Some(at) = memmem::find(&html.as_bytes()[from..], b"</") {
        let at = from + at;
        let is_end = html
            .as_bytes()
            .get(at + 2..at + 2 + name.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()));
        if is_end {
            return (&html[..at], &html[at..]);
        }
        from = at + 2;
    }
    (html, "")
}

/// Puts entities in as what they stand for.
fn unescape(text: &str, into: &mut String) {
    let mut rest = text;
    while let Some(at) = memchr(b'&', rest.as_bytes()) {
        into.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let length = rest
            .bytes()
            .take(34)
            .position(|byte| !byte.is_ascii_alphanumeric() && byte != b'#')
            .unwrap_or(rest.len().min(34));
        let found = rest.get(..length).and_then(|name| {
            if let Some(number) = name.strip_prefix('#') {
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(digits) => u32::from_str_radix(digits, 16),
                    None => number.parse(),
                };
                Some(char::from_u32(code.ok()?)?.to_string())
            } else {
                resolve_html5_entity(name).map(str::to_owned)
            }
        });
        match found {
            Some(found) => {
                into.push_str(&found);
                rest = &rest[length..];
                rest = rest.strip_prefix(';').unwrap_or(rest);
            }
            None => into.push('&'),
        }
    }
    into.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_a_reader_sees() {
        let page = Page::of(
            "<html><head><title>Plan &amp; cost</title><style>p { x }</style></head>\
             <body class=x><!-- old: 5 --><p>One\n  <b>t</b>wo &#x41;&#66;&lt;&unknown; a < b</p>\
             <a href='https://a.example/?k=1&amp;l=2' style=y>link</a><img alt=chart src=c.png>\
             <table><tr><td>a</td><td>b</td></tr></table><script>let key = \"<p>5\";</script>end</body>",
        );
        assert_eq!(
            page.text,
            "Plan & cost\nOne two AB<&unknown; a < b\nlink\na\tb\nend\n"
        );
        assert_eq!(
            page.attributes,
            "href: https://a.example/?k=1&l=2\nalt: chart\nsrc: c.png\n"
        );
        assert_eq!(page.source, "old: 5\nlet key = \"<p>5\";\n");
    }

    #[test]
    fn broken_markup_is_text_or_ends_with_the_file() {
        assert_eq!(Page::of("a <b c='d").text, "a <b c='d");
        assert_eq!(Page::of("a<").text, "a<");
        assert_eq!(Page::of("<script>x").source, "x\n");
        assert_eq!(Page::of("<!--x").source, "x\n");
        assert_eq!(Page::of("a<br/>b<BR>c").text, "a\nb\nc");
    }
}
