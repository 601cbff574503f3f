//! The credential that Google's APIs take as a query parameter.
//!
//! It is no text of anybody's, and must neither be inspected nor recorded nor shown to another upstream, so it is moved
//! into the header that means the same.

use cordon_domain::Dialect;

use super::{endpoint, host_name, pattern::decoded};

/// A path and query without their credential, and the header that takes its place.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyInQuery {
    /// Path and query without it.
    pub target: String,
    /// The header's name.
    pub header: &'static str,
    /// The header's value.
    pub value: String,
}

/// Takes the credential out of the query of a request to one of Google's APIs; `None` where there is none.
#[must_use]
pub fn key_in_query(method: &str, host: Option<&str>, path_and_query: &str) -> Option<KeyInQuery> {
    let (path, query) = path_and_query.split_once('?')?;
    let on_google = host
        .map(host_name)
        .and_then(|host| host.get(host.len().checked_sub(".googleapis.com".len())?..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(".googleapis.com"));
    let is_gemini = || endpoint(method, host, path).is_some_and(|found| found.dialect == Dialect::Gemini);
    if !on_google && !is_gemini() {
        return None;
    }
    let mut found = None;
    let mut kept = Vec::new();
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (header, scheme) = match decoded(name).as_str() {
            "key" | "$key" => ("x-goog-api-key", ""),
            "access_token" | "oauth_token" => ("authorization", "Bearer "),
            _ => {
                kept.push(parameter);
                continue;
            }
        };
        // Of several the first counts; the others go nowhere.
        found.get_or_insert_with(|| (header, format!("{scheme}{}", decoded(value))));
    }
    let (header, value) = found?;
    let target = if kept.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", kept.join("&"))
    };
    Some(KeyInQuery {
        target,
        header,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(host: Option<&str>, target: &str) -> Option<(String, &'static str, String)> {
        let taken = key_in_query("POST", host, target)?;
        Some((taken.target, taken.header, taken.value))
    }

    #[test]
    fn a_key_of_googles_leaves_the_query() {
        let google = Some("generativelanguage.googleapis.com");
        let path = "/v1beta/models/g:generateContent";
        let key = |rest: &str| Some((format!("{path}{rest}"), "x-goog-api-key", "AIza-1".to_owned()));
        assert_eq!(taken(google, &format!("{path}?key=AIza-1")), key(""));
        assert_eq!(
            taken(google, &format!("{path}?alt=sse&%6Bey=AIza%2D1&key=other")),
            key("?alt=sse")
        );
        assert_eq!(
            taken(None, &format!("{path}?key=AIza-1&alt=sse")),
            key("?alt=sse")
        );
        assert_eq!(taken(google, "/elsewhere?access_token=t").unwrap().2, "Bearer t");
        assert_eq!(taken(google, &format!("{path}?alt=sse")), None);
        assert_eq!(taken(google, path), None);
        assert_eq!(taken(Some("api.openai.com"), "/v1/files?key=mine"), None);
        assert_eq!(taken(Some("googleapis.com"), "/v1/files?key=mine"), None);
    }
}
