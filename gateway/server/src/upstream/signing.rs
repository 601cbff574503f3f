//! Requests to Amazon, signed with the company's own credentials (AWS Signature Version 4).
//!
//! A caller's own signature covers the body, so it does not stand once something was replaced; where an upstream has
//! `aws`, each request to it is signed anew, edited or not. Signed are host, content type, all `x-amz-` headers, path, query and
//! body, after all else is written. The path is not normalised: paths with dot segments are no endpoints, and Amazon
//! would refuse their signature.
//!
//! The algorithm is that of Amazon's documentation ("Create a signed AWS API request"); the tests are from the test suite that Amazon publishes with
//! its SDKs. It is written here because `aws-sigv4` brings a dozen crates with it.
//!
//! On failure: an [`UpstreamError::Unsendable`]; nothing is sent.

mod keys;

use std::{fmt::Write as _, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, Request, Uri, header, uri::PathAndQuery};
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, macros::format_description};
use zeroize::Zeroizing;

use self::keys::Keys;
pub use self::keys::keep_fresh;
use super::UpstreamError;
use crate::config;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";
const BODY_HASH: &str = "x-amz-content-sha256";
const TOKEN: &str = "x-amz-security-token";

/// Signs by the company's credentials of the moment.
pub struct Signer {
    keys: ArcSwap<Keys>,
    region: Option<String>,
    service: String,
}

impl Signer {
    /// The signer that the configuration describes.
    pub fn new(configured: &config::Aws) -> Result<Self, UpstreamError> {
        Ok(Self {
            keys: ArcSwap::from_pointee(Keys::new(configured)?),
            region: configured.region.clone(),
            service: configured.service.clone(),
        })
    }

    /// Signs by these credentials from now on.
    fn take_up(&self, fresh: &config::Aws) -> Result<(), UpstreamError> {
        self.keys.store(Arc::new(Keys::new(fresh)?));
        Ok(())
    }

    /// Signs a request that is written but for that. What its caller may have signed it with goes.
    pub fn sign(&self, request: &mut Request<Bytes>, now: OffsetDateTime) -> Result<(), UpstreamError> {
        let (method, uri, body) = (
            request.method().clone(),
            request.uri().clone(),
            request.body().clone(),
        );
        let headers = request.headers_mut();
        let host = host(&uri).ok_or(UpstreamError::Unsendable)?;
        let region = self.region.as_deref().or_else(|| region(&host));
        let region = region.ok_or(UpstreamError::Unsendable)?;
        for name in [header::AUTHORIZATION.as_str(), DATE, TOKEN, BODY_HASH] {
            headers.remove(name);
        }
        let moment = now
            .to_offset(time::UtcOffset::UTC)
            .format(format_description!("[year][month][day]T[hour][minute][second]Z"))
            .map_err(|_| UpstreamError::Unsendable)?;
        let value = HeaderValue::from_str(&moment).map_err(|_| UpstreamError::Unsendable)?;
        headers.insert(DATE, value);
        // Token and signature are of the same moment.
        let keys = self.keys.load();
        if let Some(token) = &keys.session_token {
            headers.insert(TOKEN, token.clone());
        }
        let verbatim = self.service == "s3";
        if verbatim {
            let hash = HeaderValue::from_str(&hex::encode(Sha256::digest(&body)));
            headers.insert(BODY_HASH, hash.map_err(|_| UpstreamError::Unsendable)?);
        }
        let request = Canonical {
            method: method.as_str(),
            path: uri.path(),
            query: uri
                .path_and_query()
                .and_then(PathAndQuery::query)
                .unwrap_or_default(),
            headers: covered(headers, &host)?,
            body: &body,
            verbatim,
        };
        let authorization = self.authorization(&keys, &request, &moment, region);
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| UpstreamError::Unsendable)?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    /// The value of `authorization`.
    fn authorization(&self, keys: &Keys, request: &Canonical<'_>, moment: &str, region: &str) -> String {
        let (date, service) = (&moment[..moment.len().min(8)], &self.service);
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let hashed = hex::encode(Sha256::digest(request.canonical()));
        let to_sign = format!("{ALGORITHM}\n{moment}\n{scope}\n{hashed}");
        let mut key = Zeroizing::new(format!("AWS4{}", keys.secret_access_key.as_str()).into_bytes());
        for part in [date, region, service, "aws4_request"] {
            key = mac(&key, part);
        }
        let signature = hex::encode(mac(&key, &to_sign).as_slice());
        format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            keys.access_key_id,
            request.names()
        )
    }
}

/// The host as it is sent: with its port, unless that is the scheme's own.
fn host(uri: &Uri) -> Option<String> {
    let host = uri.host()?;
    let own = match uri.scheme_str() {
        Some("http") => 80,
        _ => 443,
    };
    Some(match uri.port_u16() {
        Some(port) if port != own => format!("{host}:{port}"),
        _ => host.to_owned(),
    })
}

/// The region that a host of Amazon's names, as in `bedrock-runtime.eu-west-1.amazonaws.com`.
pub fn region(host: &str) -> Option<&str> {
    let mut names = host.split('.').skip(1);
    let region = names.next()?;
    (names.next() == Some("amazonaws") && region.contains('-')).then_some(region)
}

/// The headers that a signature covers, in order, a name once.
fn covered(headers: &HeaderMap, host: &str) -> Result<Vec<(String, String)>, UpstreamError> {
    let mut covered = vec![(header::HOST.as_str().to_owned(), host.to_owned())];
    for name in headers.keys() {
        if *name != header::CONTENT_TYPE && !name.as_str().starts_with("x-amz-") {
            continue;
        }
        let mut values = Vec::new();
        for value in headers.get_all(name) {
            values.push(value.to_str().map_err(|_| UpstreamError::Unsendable)?);
        }
        covered.push((name.as_str().to_owned(), values.join(",")));
    }
    covered.sort();
    Ok(covered)
}

/// What is signed.
struct Canonical<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    /// Names in lower case and in order.
    headers: Vec<(String, String)>,
    body: &'a [u8],
    /// The path is signed as it is sent: so does S3, and no other service.
    verbatim: bool,
}

impl Canonical<'_> {
    fn canonical(&self) -> String {
        let path = if self.verbatim {
            self.path.to_owned()
        } else {
            path(self.path)
        };
        let mut out = format!("{}\n{path}\n{}\n", self.method, query(self.query));
        for (name, value) in &self.headers {
            // Space around and within a value counts once.
            let value: Vec<&str> = value.split_ascii_whitespace().collect();
            let _ = writeln!(out, "{name}:{}", value.join(" "));
        }
        let _ = write!(
            out,
            "\n{}\n{}",
            self.names(),
            hex::encode(Sha256::digest(self.body))
        );
        out
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.join(";")
    }
}

/// The path as it is sent, encoded once more.
fn path(path: &str) -> String {
    if path.is_empty() {
        return "/".to_owned();
    }
    encoded(path, "/")
}

/// The query as it is sent, in the order of its names and then its values.
fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encoded(name, "%"), encoded(value, "%")))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// All but RFC 3986's unreserved letters, and those that are kept, in percent-encoding.
fn encoded(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let letter = char::from(byte);
        if byte.is_ascii_alphanumeric() || "-._~".contains(letter) || kept.contains(letter) {
            out.push(letter);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn mac(key: &[u8], text: &str) -> Zeroizing<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn signer(service: &str, token: Option<&'static str>) -> Signer {
        let keys = Keys {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: Zeroizing::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into()),
            session_token: token.map(HeaderValue::from_static),
        };
        Signer {
            keys: ArcSwap::from_pointee(keys),
            region: None,
            service: service.into(),
        }
    }

    fn authorization(request: &Canonical<'_>, moment: &str, region: &str) -> String {
        let signer = signer("service", None);
        signer.authorization(&signer.keys.load(), request, moment, region)
    }

    /// Name, first line, headers beside host and date, and the signature.
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

    /// From each `header-signed-request.txt` of the suite.
    #[test]
    fn the_published_suite_is_signed_as_published() {
        let letters = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let (unreserved, unreserved_query) =
            (format!("GET /{letters}"), format!("GET /?{letters}={letters}"));
        let cases: &[Case<'_>] = &[
            (
                "get-vanilla",
                "GET /",
                &[],
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "get-unreserved",
                &unreserved,
                &[],
                "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            ),
            (
                "get-utf8",
                "GET /ሴ",
                &[],
                "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            ),
            (
                "get-space-unnormalized",
                "GET /example space/",
                &[],
                "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
            ),
            (
                "get-slashes-unnormalized",
                "GET //example//",
                &[],
                "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5",
            ),
            (
                "get-vanilla-empty-query-key",
                "GET /?Param1=value1",
                &[],
                "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
            ),
            (
                "get-vanilla-query-order-key-case",
                "GET /?Param2=value2&Param1=value1",
                &[],
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-vanilla-query-order-encoded",
                "GET /?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
                &[],
                "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
            ),
            (
                "get-vanilla-query-unreserved",
                &unreserved_query,
                &[],
                "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            ),
            (
                "get-vanilla-utf8-query",
                "GET /?ሴ=bar",
                &[],
                "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ),
            (
                "get-header-key-duplicate",
                "GET /",
                &[("my-header1", "value2,value2,value1")],
                "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            ),
            (
                "get-header-value-multiline",
                "GET /",
                &[("my-header1", "value1\n  value2\n     value3")],
                "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
            ),
            (
                "get-header-value-trim",
                "GET /",
                &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                "post-vanilla",
                "POST /",
                &[],
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-vanilla-query",
                "POST /?Param1=value1",
                &[],
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
            (
                "post-header-value-case",
                "POST /",
                &[("my-header1", "VALUE1")],
                "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
            ),
        ];
        for (name, line, headers, signature) in cases {
            let (method, target) = line.split_once(' ').unwrap();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let mut all = vec![
                ("host", "example.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ];
            all.extend_from_slice(headers);
            let mut headers: Vec<(String, String)> = all
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            headers.sort();
            let request = Canonical {
                method,
                path,
                query,
                headers,
                body: b"",
                verbatim: false,
            };
            let made = authorization(&request, "20150830T123600Z", "us-east-1");
            assert!(
                made.ends_with(&format!("Signature={signature}")),
                "{name}: {made}"
            );
        }
    }

    #[test]
    fn a_body_is_signed_with_its_type_and_its_hash() {
        let form = "application/x-www-form-urlencoded";
        let body = b"Param1=value1";
        let hash = hex::encode(Sha256::digest(body));
        let headers = [
            ("content-length", "13"),
            ("content-type", form),
            ("host", "example.amazonaws.com"),
            ("x-amz-content-sha256", &hash),
            ("x-amz-date", "20150830T123600Z"),
        ];
        let request = Canonical {
            method: "POST",
            path: "/",
            query: "",
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            body,
            verbatim: false,
        };
        let made = authorization(&request, "20150830T123600Z", "us-east-1");
        assert_eq!(
            made,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-length;content-type;host;x-amz-content-sha256;x-amz-date, \
             Signature=d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"
        );
    }

    fn signed(uri: &str, signer: &Signer, now: OffsetDateTime, given: &[(&'static str, &str)]) -> HeaderMap {
        let mut request = Request::post(uri);
        for (name, value) in given {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Bytes::new()).unwrap();
        signer.sign(&mut request, now).unwrap();
        request.headers().clone()
    }

    /// `double-url-encode` of the suite: what is encoded in a path is encoded once more.
    #[test]
    fn a_path_is_encoded_once_more_and_the_region_is_the_hosts() {
        let uri = "https://lambda.us-east-2.amazonaws.com/2015-03-31/functions/\
                   arn%3Aaws%3Alambda%3Aus-west-2%3A892717189312%3Afunction%3Amy-rusty-fun/invocations";
        let now = datetime!(2021-05-11 15:40:45 UTC);
        let headers = signed(uri, &signer("lambda", None), now, &[]);
        assert_eq!(headers[DATE], "20210511T154045Z");
        assert_eq!(
            headers[header::AUTHORIZATION],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20210511/us-east-2/lambda/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=4b93abbcc68be32bd64c18e2c71150660ab4c29bbd6c32a383a7517a88fc1804"
        );
        assert!(headers[header::AUTHORIZATION].is_sensitive());
    }

    /// `get-vanilla-with-session-token` of the suite is a GET; this is its POST, `post-sts-header-before`.
    #[test]
    fn a_session_token_is_signed_and_the_callers_own_signature_goes() {
        const SESSION: &str = concat!(
            "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfp",
            "SPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQ",
            "DYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+s",
            "cqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
        );
        let mut signer = signer("service", Some(SESSION));
        signer.region = Some("us-east-1".into());
        let now = datetime!(2015-08-30 12:36:00 UTC);
        let given = [
            ("authorization", "AWS4-HMAC-SHA256 Credential=theirs"),
            ("x-amz-date", "20150830T000000Z"),
            ("x-amz-security-token", "theirs"),
            ("x-amz-content-sha256", "theirs"),
            ("user-agent", "not signed"),
        ];
        let headers = signed("https://example.amazonaws.com/", &signer, now, &given);
        assert_eq!(
            headers[header::AUTHORIZATION],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-security-token, \
             Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
        );
        assert_eq!(headers.get_all(DATE).iter().count(), 1);
        assert_eq!(headers.get(TOKEN).unwrap(), SESSION);
        assert_eq!(headers.get("x-amz-content-sha256"), None);
    }

    #[test]
    fn a_host_that_names_no_region_needs_one_configured() {
        assert_eq!(
            region("bedrock-runtime.eu-west-1.amazonaws.com"),
            Some("eu-west-1")
        );
        assert_eq!(
            region("bedrock-runtime.eu-west-1.amazonaws.com.cn"),
            Some("eu-west-1")
        );
        for host in ["example.amazonaws.com", "bedrock.example.org", "localhost", ""] {
            assert_eq!(region(host), None, "{host}");
        }
        let mut request = Request::post("https://bedrock.example.org/")
            .body(Bytes::new())
            .unwrap();
        let now = datetime!(2015-08-30 12:36:00 UTC);
        let failed = signer("bedrock", None).sign(&mut request, now);
        assert_eq!(failed, Err(UpstreamError::Unsendable));
        assert_eq!(
            host(&"https://a.example:8443/".parse().unwrap()).as_deref(),
            Some("a.example:8443")
        );
        assert_eq!(
            host(&"https://a.example:443/".parse().unwrap()).as_deref(),
            Some("a.example")
        );
    }
}
