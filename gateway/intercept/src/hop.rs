//! Hop-by-hop headers (RFC 9110, 7.6.1), which belong to one connection and never travel on.
//!
//! Everything that `Connection` names goes, and everything that begins with `proxy-`, so that the
//! credentials a caller shows us are never shown to a provider. `Alt-Svc` goes with them: it names another way to the
//! server (HTTP/3), which would lead past us, and is told of our own connections only by us.

use http::{HeaderMap, HeaderName, header};

/// Named or not, these belong to a connection.
const ALWAYS: &[&str] = &[
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "alt-svc",
];

/// Removes what must not go from a caller to an upstream. `Expect` goes too: it was answered here.
pub fn strip_request(headers: &mut HeaderMap) {
    strip_reply(headers);
    headers.remove(header::EXPECT);
}

/// Removes what must not go from an upstream to a caller.
pub fn strip_reply(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let proxied = headers.keys().filter(|name| name.as_str().starts_with("proxy-"));
    let gone: Vec<HeaderName> = proxied.cloned().chain(named).collect();
    for name in gone {
        headers.remove(name);
    }
    for name in ALWAYS {
        headers.remove(*name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn connection_and_proxy_headers_go_and_others_stay() {
        let mut map = headers(&[
            ("Connection", "keep-alive, X-Trace"),
            ("connection", "\t x-other ,,"),
            ("X-Trace", "1"),
            ("X-Other", "2"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authorization", "Basic c2VjcmV0"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "trailers"),
            ("Upgrade", "websocket"),
            ("Expect", "100-continue"),
            ("Alt-Svc", "h3=\":443\"; ma=86400"),
            ("alt-svc", "h3=\"quic.example:443\""),
            ("Authorization", "Bearer x"),
            ("Content-Type", "application/json"),
        ]);
        strip_request(&mut map);
        assert_eq!(
            map,
            headers(&[
                ("Authorization", "Bearer x"),
                ("Content-Type", "application/json")
            ])
        );
    }

    proptest! {
        #[test]
        fn what_connection_names_is_gone_and_the_rest_is_untouched(
            names in proptest::collection::btree_set("x-[a-z]{1,6}", 0..8),
            named in any::<u8>(),
        ) {
            let mut map = HeaderMap::new();
            let mut kept = HeaderMap::new();
            let mut list = Vec::new();
            for (index, name) in names.iter().enumerate() {
                let key: HeaderName = name.parse().unwrap();
                map.insert(key.clone(), HeaderValue::from_static("v"));
                if named & (1 << index) == 0 {
                    kept.insert(key, HeaderValue::from_static("v"));
                } else {
                    list.push(name.to_uppercase());
                }
            }
            map.insert(header::CONNECTION, HeaderValue::from_str(&list.join(" , ")).unwrap());
            strip_reply(&mut map);
            prop_assert_eq!(&map, &kept);
            let once = map.clone();
            strip_reply(&mut map);
            prop_assert_eq!(map, once);
        }

        #[test]
        fn any_connection_value_is_taken(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut map = HeaderMap::new();
                map.insert(header::CONNECTION, value);
                strip_request(&mut map);
                prop_assert!(map.is_empty());
            }
        }
    }
}
