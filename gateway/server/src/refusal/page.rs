//! A refusal as a page, for a person in front of a browser. Programs get their dialect's error object.
//!
//! It loads nothing and runs nothing, so it says the same under whichever host's name it is shown.

use cordon_domain::{Fault, Refusal};
use http::{HeaderMap, header};

/// Whether whoever asks is a browser that opens a page: it wants HTML, and says so.
pub fn wanted(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
        })
}

/// The page.
pub fn page(refusal: &Refusal) -> String {
    let title = match refusal.fault {
        Fault::Upstream => "Cordon did not connect to this site",
        Fault::Identity => "Cordon needs to know who you are",
        _ => "Cordon stopped this request",
    };
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"robots\" content=\"noindex\"><title>",
    );
    escape(title, &mut html);
    html.push_str(
        "</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}\
         dt{color:#555}dd{margin:0 0 .5rem}p{white-space:pre-line}code{overflow-wrap:anywhere}\
         @media(prefers-color-scheme:dark){body{background:#181818;color:#eee}dt{color:#aaa}}</style></head><body><h1>",
    );
    escape(title, &mut html);
    html.push_str("</h1><p>");
    escape(&refusal.message, &mut html);
    html.push_str("</p><dl><dt>Code</dt><dd><code>");
    escape(refusal.code, &mut html);
    html.push_str("</code></dd><dt>Exchange</dt><dd><code>");
    escape(&refusal.exchange.to_string(), &mut html);
    html.push_str("</code></dd></dl></body></html>\n");
    html
}

fn escape(text: &str, html: &mut String) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use cordon_domain::{Action, ExchangeId};
    use http::HeaderValue;

    use super::*;

    #[test]
    fn browsers_are_told_from_programs() {
        let asks = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            wanted(&headers)
        };
        assert!(asks(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        ));
        assert!(asks("*/*, Text/HTML;q=0.1"));
        for program in [
            "*/*",
            "application/json",
            "text/event-stream",
            "text/html-like",
            "",
        ] {
            assert!(!asks(program), "{program}");
        }
        assert!(!wanted(&HeaderMap::new()));
    }

    #[test]
    fn the_page_says_it_all_and_nothing_in_it_is_markup() {
        let refusal = Refusal {
            status: 502,
            fault: Fault::Upstream,
            code: "cordon_certificate_expired",
            message: "<script>alert(1)</script> & \"so\"".into(),
            action: Action::Block,
            exchange: ExchangeId::new(),
            retry_after: None,
        };
        let html = page(&refusal);
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;so&quot;"));
        assert!(html.contains("cordon_certificate_expired") && html.contains(&refusal.exchange.to_string()));
        assert!(!html.contains("<script"));
    }
}
