//! What the patterns of the tables mean: hosts with a part left open, paths with segments of the caller's choice.
//!
//! In a path's pattern a segment that starts with `{` is free, up to what follows the `}`: `{id}`, or
//! `{model}:generateContent`. The one called `{model}` names the language model. One whose name ends in `*` may hold
//! percent-encoded slashes, as the names that Bedrock gives to its models do.

/// Whether a host is one of those that a pattern stands for: the host itself; with one `*` for anything
/// that is not empty; or, from a leading dot on, all that lie under it.
pub(crate) fn is_host(host: &str, pattern: &str) -> bool {
    let same = |part: Option<&str>, known: &str| part.is_some_and(|part| part.eq_ignore_ascii_case(known));
    let (before, after) = match pattern.split_once('*') {
        Some(parts) => parts,
        None if pattern.starts_with('.') => ("", pattern),
        None => return host.eq_ignore_ascii_case(pattern),
    };
    host.len() > before.len() + after.len()
        && same(host.get(..before.len()), before)
        && same(host.get(host.len() - after.len()..), after)
}

/// The name alone, without a port or a root dot.
pub(crate) fn host_name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a path is what a pattern describes. With it comes the segment that names the model, as written.
///
/// A pattern comes in two parts, where it is mounted and what is there; both start with a slash or are empty.
pub(crate) fn matched<'p>(path: &'p str, mount: &str, pattern: &str) -> Option<Option<&'p str>> {
    let mut model = None;
    let mut segments = path.split('/');
    for known in mount.split('/').chain(pattern.split('/').skip(1)) {
        let segment = segments.next()?;
        let Some((name, tail)) = known.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            if segment != known {
                return None;
            }
            continue;
        };
        let free = segment.strip_suffix(tail)?;
        let (name, slashes) = match name.strip_suffix('*') {
            Some(name) => (name, true),
            None => (name, false),
        };
        // What stands before a verb must not hold another.
        let second_verb = !tail.is_empty() && (free.contains(':') || free.contains('%'));
        if second_verb || !is_one_step(free, slashes) {
            return None;
        }
        if name == "model" {
            model = Some(free);
        }
    }
    segments.next().is_none().then_some(model)
}

/// Whether a segment can be nothing but a name to any upstream, however often it decodes it.
pub(crate) fn is_one_step(segment: &str, slashes: bool) -> bool {
    let escapes = segment.match_indices('%').all(|(at, _)| {
        let code = segment.get(at + 1..at + 3).map(str::to_ascii_lowercase);
        match code.as_deref() {
            Some("2f") => slashes,
            Some("2e" | "5c" | "25") | None => false,
            Some(code) => {
                code.bytes().all(|digit| digit.is_ascii_hexdigit()) && !code.starts_with(['0', '1'])
            }
        }
    });
    let dots = |part: &str| matches!(part, "" | "." | "..");
    let parts = segment.to_ascii_lowercase();
    escapes && !segment.contains('\\') && !parts.split("%2f").any(dots)
}

/// A segment as it reads once decoded; as it is where it holds no text.
pub(super) fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                // Two digits of sixteen fit a byte.
                bytes.push((high << 4 | low) as u8);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| segment.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_whole_under_a_dot_or_around_a_star() {
        for (host, pattern, expected) in [
            ("API.openai.com", "api.openai.com", true),
            ("eu.api.openai.com", ".api.openai.com", true),
            (".api.openai.com", ".api.openai.com", false),
            (
                "bedrock-runtime.eu-west-1.amazonaws.com",
                "bedrock-runtime.*.amazonaws.com",
                true,
            ),
            (
                "bedrock-runtime..amazonaws.com",
                "bedrock-runtime.*.amazonaws.com",
                false,
            ),
            (
                "bedrock-runtime.amazonaws.com",
                "bedrock-runtime.*.amazonaws.com",
                false,
            ),
            ("mcp.example", "mcp.*", true),
            ("mcp.", "mcp.*", false),
            ("é", "mcp.*", false),
        ] {
            assert_eq!(is_host(host, pattern), expected, "{host} {pattern}");
        }
    }

    #[test]
    fn a_free_segment_is_one_step_and_nothing_else() {
        for (path, pattern, expected) in [
            ("/m/a", "/m/{id}", Some(None)),
            ("/m/a/b", "/m/{id}", None),
            ("/m/", "/m/{id}", None),
            ("/m/..", "/m/{id}", None),
            ("/m/%2e%2E", "/m/{id}", None),
            ("/m/a%2fb", "/m/{id}", None),
            ("/m/a%5Cb", "/m/{id}", None),
            ("/m/a\\b", "/m/{id}", None),
            ("/m/a%252fb", "/m/{id}", None),
            ("/m/a%0ab", "/m/{id}", None),
            ("/m/a%zz", "/m/{id}", None),
            ("/m/a%", "/m/{id}", None),
            ("/m/g-1:go", "/m/{model}:go", Some(Some("g-1"))),
            ("/m/:go", "/m/{model}:go", None),
            ("/m/g:stop:go", "/m/{model}:go", None),
            ("/m/g%3Astop:go", "/m/{model}:go", None),
            ("/m/arn%3Ax%2Fy/run", "/m/{model*}/run", Some(Some("arn%3Ax%2Fy"))),
            ("/m/arn%2F/run", "/m/{model*}/run", None),
            ("/m/x/run/", "/m/{model*}/run", None),
        ] {
            assert_eq!(matched(path, "", pattern), expected, "{path} {pattern}");
            let mounted = format!("/x{path}");
            assert_eq!(matched(&mounted, "/x", pattern), expected, "{path} {pattern}");
        }
        assert_eq!(decoded("arn%3Ax%2Fy%zz%"), "arn:x/y%zz%");
        assert_eq!(decoded("a%FF"), "a%FF");
    }
}
