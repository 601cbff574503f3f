//! Every endpoint that is known: those of the files that describe dialects, then those that are built in.
//!
//! On a host that a file speaks of, its routes go first: an application may use a path that means something
//! else elsewhere. Only its routes that leave the rest of a path open (`/**`) come after what is built in, since
//! an application's host may serve a provider's API as well. A path is matched as written, like those of the
//! built-in tables.

use crate::{
    DialectFault, DialectFile, Endpoint, endpoint,
    endpoint::pattern::{host_name, is_host, is_one_step, matched},
    socket::socket_endpoint,
};

/// What RFC 9110, section 15.5.22, has for a server that wants another protocol.
const UPGRADE_REQUIRED: u16 = 426;
/// How a pattern says that any path may follow.
const REST: &str = "/**";

/// The dialects of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    files: Vec<DialectFile>,
}

impl Catalogue {
    /// The files that Cordon brings along, and the configured ones; of two that have the same name the later
    /// counts.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = DialectFile>) -> Self {
        let mut kept: Vec<DialectFile> = Vec::new();
        for file in files {
            kept.retain(|known| known.dialect != file.dialect);
            kept.push(file);
        }
        Self { files: kept }
    }

    /// The endpoint of a request, or `None` when nothing describes it; see [`endpoint`](crate::endpoint()).
    #[must_use]
    pub fn endpoint(&self, method: &str, host: Option<&str>, path: &str) -> Option<Endpoint> {
        let described = |open| self.described(method, host_name(host?), path, false, open);
        described(false)
            .or_else(|| endpoint(method, host, path))
            .or_else(|| described(true))
    }

    /// What is said over a WebSocket that is opened there, or `None` when nothing describes it.
    #[must_use]
    pub fn socket(&self, host: Option<&str>, path: &str) -> Option<Endpoint> {
        let described = |open| self.described("GET", host_name(host?), path, true, open);
        described(false)
            .or_else(|| socket_endpoint(host, path))
            .or_else(|| described(true))
    }

    /// The status that a WebSocket is refused with where nothing describes what is said on it: that at which the
    /// host's programs fall back to requests, by the files that speak of the host.
    #[must_use]
    pub fn socket_refusal_status(&self, host: Option<&str>) -> u16 {
        let host = host_name(host.unwrap_or_default());
        let told = self.of_host(host).find_map(|file| file.sockets);
        told.unwrap_or(UPGRADE_REQUIRED)
    }

    fn of_host(&self, host: &str) -> impl Iterator<Item = &DialectFile> {
        self.files
            .iter()
            .filter(move |file| file.hosts.iter().any(|known| is_host(host, known)))
    }

    fn described(&self, method: &str, host: &str, path: &str, socket: bool, open: bool) -> Option<Endpoint> {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        self.of_host(host)
            .flat_map(|file| &file.routes)
            .find(|route| {
                route.socket == socket
                    && route.methods.iter().any(|known| known == method)
                    && (route.paths.iter())
                        .any(|known| known.ends_with(REST) == open && is_match(path, known))
            })
            .map(|route| route.endpoint)
    }

    /// Runs the examples of every file; see [`DialectFile::try_examples`].
    #[must_use]
    pub fn try_examples(&self) -> Vec<DialectFault> {
        self.files.iter().flat_map(DialectFile::try_examples).collect()
    }

    /// The hosts that files speak of, as they can be intercepted: names, without patterns.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.files
            .iter()
            .filter(|file| !file.routes.is_empty())
            .flat_map(|file| &file.hosts)
            .map(|host| host.trim_start_matches('.'))
            .filter(|host| !host.contains('*'))
    }
}

fn is_match(path: &str, pattern: &str) -> bool {
    let Some(before) = pattern.strip_suffix(REST) else {
        return matched(path, "", pattern).is_some();
    };
    let depth = before.split('/').count();
    let mut rest = path.splitn(depth + 1, '/');
    let head = rest.by_ref().take(depth).collect::<Vec<_>>().join("/");
    let Some(rest) = rest.next() else {
        return false;
    };
    let steps = rest.strip_suffix('/').unwrap_or(rest);
    matched(&head, "", before).is_some()
        && (steps.is_empty() || steps.split('/').all(|step| is_one_step(step, false)))
}

/// Whether a pattern of paths is one.
pub(crate) fn is_path(pattern: &str) -> bool {
    let plain = pattern.strip_suffix(REST).unwrap_or(pattern);
    let of_path = |byte: u8| byte.is_ascii_graphic() && !b"?#*%\\".contains(&byte);
    (pattern.starts_with('/') && plain.bytes().all(of_path))
        && plain.matches('{').count() == plain.matches('}').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_may_leave_the_rest_of_a_path_open() {
        for (path, pattern, expected) in [
            ("/", "/**", true),
            ("/assets/a.js", "/assets/**", true),
            ("/assets/a/b.js", "/assets/**", true),
            ("/assets/", "/assets/**", true),
            ("/assets", "/assets/**", false),
            ("/assets/../backend-api/conversation", "/assets/**", false),
            ("/assets//x", "/assets/**", false),
            ("/assets/%2e%2e/x", "/assets/**", false),
            ("/assetsx/a", "/assets/**", false),
            (
                "/api/o1/chats/c2/completion",
                "/api/{org}/chats/{id}/completion",
                true,
            ),
            (
                "/api/o1/chats//completion",
                "/api/{org}/chats/{id}/completion",
                false,
            ),
            ("/u/0/_/x/y", "/u/{n}/_/**", true),
        ] {
            assert_eq!(is_match(path, pattern), expected, "{path} {pattern}");
        }
    }
}
