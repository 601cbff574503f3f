//! The pages on `http://cordon.internal/`: how to set up each client program, the CA certificate, and
//! a proxy auto-configuration file.
//!
//! They hold nothing secret and are shown to whoever reaches the proxy, since those who need them
//! cannot log in yet. The console serves the same from [`Pages::get`].
//!
//! On failure: an unknown path is a 404 that names the paths there are.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::{
    exchange::{AnswerBody, empty_body, full_body},
    reach::Network,
};

/// The host name that the pages answer to, through the proxy only. No certificate of a public
/// authority can exist for a name under `.internal`.
pub const PAGES_HOST: &str = "cordon.internal";

/// What the pages speak of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// The root certificate.
    pub ca_pem: String,
    /// `host:port` under which callers reach the proxy.
    pub proxy: String,
    /// The same over TLS, where it is spoken.
    pub proxy_tls: Option<String>,
    /// URL under which callers reach the gateway.
    pub gateway: String,
    /// The intercepted hosts.
    pub hosts: Vec<String>,
    /// Hosts under them that callers reach directly.
    pub bypass: Vec<String>,
    /// Networks that callers reach directly.
    pub bypass_networks: Vec<Network>,
}

/// The media type of a PAC file.
const PAC: &str = "application/x-ns-proxy-autoconfig";

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: StatusCode,
    /// The media type.
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

impl Pages {
    /// The page at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Page {
        let (status, content_type, body) = match path {
            "/" | "/index.html" => (StatusCode::OK, "text/html; charset=utf-8", self.instructions()),
            "/ca.pem" => (StatusCode::OK, "application/x-pem-file", self.ca_pem.clone()),
            "/proxy.pac" => (StatusCode::OK, PAC, self.pac(&format!("PROXY {}", self.proxy))),
            "/proxy-tls.pac" if self.proxy_tls.is_some() => {
                let proxy = self.proxy_tls.as_deref().unwrap_or_default();
                (StatusCode::OK, PAC, self.pac(&format!("HTTPS {proxy}")))
            }
            _ => (
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "There is / (instructions), /ca.pem and /proxy.pac here.\n".to_owned(),
            ),
        };
        Page {
            status,
            content_type,
            body,
        }
    }

    /// The answer to a request for a path.
    pub(crate) fn answer(&self, method: &Method, path: &str) -> Response<AnswerBody> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut answer = Response::new(empty_body());
            *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            answer
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let page = self.get(path);
        // hyper sends no body in answer to HEAD, only its length.
        let mut answer = Response::new(full_body(page.body));
        *answer.status_mut() = page.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
        // After a rotation the old certificate must not linger in a browser.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
        );
        answer
    }

    /// The intercepted hosts go through the proxy and nowhere else: without a `DIRECT` behind it, a
    /// proxy that is down stops them instead of letting them pass uninspected. What bypasses it is asked first.
    fn pac(&self, way: &str) -> String {
        let mut text = String::from("function FindProxyForURL(url, host) {\n");
        push_list(
            &mut text,
            "hosts",
            self.hosts.iter().map(String::as_str).chain([PAGES_HOST]),
        );
        text.push_str("  host = host.toLowerCase();\n");
        text.push_str("  if (host.charAt(host.length - 1) === \".\") host = host.slice(0, -1);\n");
        if !self.bypass.is_empty() {
            push_list(&mut text, "direct", self.bypass.iter().map(String::as_str));
            text.push_str("  for (var d = 0; d < direct.length; d++) {\n");
            text.push_str("    if (host === direct[d] || dnsDomainIs(host, \".\" + direct[d])) return \"DIRECT\";\n  }\n");
        }
        // Only what is an address as written is compared: a look-up for each host would make browsers slow.
        for network in &self.bypass_networks {
            if let IpAddr::V4(address) = network.address() {
                let mask = Ipv4Addr::from_bits(
                    u32::MAX
                        .checked_shl(32 - u32::from(network.prefix()))
                        .unwrap_or(0),
                );
                // Writing into a string cannot fail.
                let _ = writeln!(
                    text,
                    "  if (/^[0-9]+(\\.[0-9]+){{3}}$/.test(host) && isInNet(host, \"{address}\", \"{mask}\")) return \"DIRECT\";"
                );
            }
        }
        text.push_str("  for (var i = 0; i < hosts.length; i++) {\n");
        text.push_str("    if (host === hosts[i] || dnsDomainIs(host, \".\" + hosts[i])) return ");
        push_js(&mut text, way);
        text.push_str(";\n  }\n  return \"DIRECT\";\n}\n");
        text
    }

    fn instructions(&self) -> String {
        let proxy = format!("http://USER:KEY@{}", self.proxy);
        let base = self.gateway.trim_end_matches('/');
        let sections: [(&str, String); 6] = [
            (
                "curl",
                format!(
                    "curl --proxy {proxy} --cacert cordon-ca.pem https://api.openai.com/v1/models\n\
                     # or by base URL\n\
                     curl --cacert cordon-ca.pem -H 'Authorization: Bearer KEY' {base}/v1/models"
                ),
            ),
            (
                "Python: openai, anthropic",
                format!(
                    "export HTTPS_PROXY={proxy}\n\
                     export SSL_CERT_FILE=/path/to/cordon-bundle.pem   # system roots and cordon-ca.pem in one file\n\
                     # or by base URL\n\
                     export OPENAI_BASE_URL={base}/v1 OPENAI_API_KEY=KEY\n\
                     export ANTHROPIC_BASE_URL={base} ANTHROPIC_API_KEY=KEY"
                ),
            ),
            (
                "Node: openai, @anthropic-ai/sdk",
                format!(
                    "export NODE_EXTRA_CA_CERTS=/path/to/cordon-ca.pem\n\
                     export HTTPS_PROXY={proxy} NODE_USE_ENV_PROXY=1   # Node 22.21 and later\n\
                     # older Node: pass undici's EnvHttpProxyAgent as dispatcher, or use the base URL\n\
                     export OPENAI_BASE_URL={base}/v1 OPENAI_API_KEY=KEY"
                ),
            ),
            (
                "Codex CLI",
                format!(
                    "export HTTPS_PROXY={proxy}\n\
                     export CODEX_CA_CERTIFICATE=/path/to/cordon-ca.pem   # or SSL_CERT_FILE=/path/to/cordon-bundle.pem"
                ),
            ),
            (
                "Claude Code",
                format!(
                    "export HTTPS_PROXY={proxy}\n\
                     export NODE_EXTRA_CA_CERTS=/path/to/cordon-ca.pem"
                ),
            ),
            (
                "Browsers and the whole machine",
                format!(
                    "Proxy auto-configuration URL: http://{}/proxy.pac\n\
                     Add cordon-ca.pem to the certificate authorities that the system or browser trusts.",
                    self.proxy
                ),
            ),
        ];
        let mut html = String::from(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Cordon</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>\
             body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}\
             pre{background:#f3f3f3;padding:.8rem;overflow-x:auto}</style></head><body>\
             <h1>Use language models through Cordon</h1>\
             <p>Requests to the hosts below are inspected and recorded. Save the certificate authority \
             as <code>cordon-ca.pem</code>: <a href=\"/ca.pem\">/ca.pem</a>. Put your user name and Cordon \
             key in place of <code>USER:KEY</code>; <code>cordon env</code> prints these lines for your shell.</p>",
        );
        for (title, text) in &sections {
            html.push_str("<h2>");
            push_html(&mut html, title);
            html.push_str("</h2><pre>");
            push_html(&mut html, text);
            html.push_str("</pre>");
        }
        html.push_str("<h2>Inspected hosts</h2><ul>");
        for host in &self.hosts {
            html.push_str("<li><code>");
            push_html(&mut html, host);
            html.push_str("</code></li>");
        }
        html.push_str("</ul></body></html>\n");
        html
    }
}

fn push_html(html: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
}

/// A variable that holds a list of strings.
fn push_list<'a>(script: &mut String, name: &str, entries: impl Iterator<Item = &'a str>) {
    // Writing into a string cannot fail.
    let _ = write!(script, "  var {name} = [");
    for (index, entry) in entries.enumerate() {
        script.push_str(if index == 0 { "" } else { ", " });
        push_js(script, entry);
    }
    script.push_str("];\n");
}

/// A string literal that is safe in a script, whatever the configuration holds.
fn push_js(script: &mut String, text: &str) {
    script.push('"');
    for unit in text.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some(plain) if plain.is_ascii_alphanumeric() || ".:-_ []".contains(plain) => script.push(plain),
            // Writing into a string cannot fail.
            _ => drop(write!(script, "\\u{unit:04x}")),
        }
    }
    script.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        Pages {
            ca_pem: "-----BEGIN CERTIFICATE-----\n".into(),
            proxy: "proxy.corp:8888".into(),
            gateway: "https://gw.corp:8443/".into(),
            hosts: vec!["api.openai.com".into(), "x\"</script>".into()],
            ..Pages::default()
        }
    }

    #[test]
    fn each_client_is_explained_and_nothing_is_left_unescaped() {
        let page = pages().get("/");
        for word in [
            "curl",
            "SSL_CERT_FILE",
            "NODE_EXTRA_CA_CERTS",
            "CODEX_CA_CERTIFICATE",
            "Claude Code",
            "proxy.corp:8888",
            "https://gw.corp:8443/v1",
            "api.openai.com",
        ] {
            assert!(page.body.contains(word), "{word}");
        }
        assert!(!page.body.contains("</script>"));
    }

    #[test]
    fn the_pac_lists_hosts_and_has_no_way_round_the_proxy() {
        let pac = pages().get("/proxy.pac").body;
        assert!(pac.contains("\"api.openai.com\"") && pac.contains("\"PROXY proxy.corp:8888\""));
        assert!(pac.contains("\"x\\u0022\\u003c\\u002fscript\\u003e\""));
        assert_eq!(pac.matches("DIRECT").count(), 1);
    }

    #[test]
    fn the_pac_sends_what_bypasses_past_the_proxy_and_knows_one_over_tls() {
        let with = Pages {
            proxy_tls: Some("proxy.corp:8890".into()),
            bypass: vec!["auth.api.openai.com".into()],
            bypass_networks: vec!["10.0.0.0/8".parse().unwrap(), "0.0.0.0/0".parse().unwrap()],
            ..pages()
        };
        let pac = with.get("/proxy-tls.pac").body;
        assert!(pac.contains("\"HTTPS proxy.corp:8890\"") && !pac.contains("PROXY proxy"));
        assert!(pac.contains("var direct = [\"auth.api.openai.com\"];"), "{pac}");
        assert!(
            pac.contains("isInNet(host, \"10.0.0.0\", \"255.0.0.0\")"),
            "{pac}"
        );
        assert!(pac.contains("isInNet(host, \"0.0.0.0\", \"0.0.0.0\")"), "{pac}");
        assert!(pac.find("direct[d]").unwrap() < pac.find("hosts[i]").unwrap());
        assert_eq!(pages().get("/proxy-tls.pac").status, StatusCode::NOT_FOUND);
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        assert_eq!(pages().get("/root.key").status, StatusCode::NOT_FOUND);
        assert_eq!(
            pages().answer(&Method::POST, "/").status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}
