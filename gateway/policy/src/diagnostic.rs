use std::{fmt, sync::Arc};

/// Something wrong in a policy or test file, with the place an editor can jump to.
///
/// It speaks of the security team's own file, so it may quote that file; it never holds request text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name, as it was given to the parser.
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: u64,
    /// Column in characters, counted from 1.
    pub column: u64,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Diagnostic {
    /// A diagnostic at a place of the file.
    pub(crate) fn new(file: &Arc<str>, at: Position, message: impl Into<String>) -> Self {
        Self {
            file: Arc::clone(file),
            line: at.line,
            column: at.column,
            message: message.into(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// A place in a file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl Position {
    /// The first character of a file, for what has no better place.
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

impl From<serde_saphyr::Location> for Position {
    fn from(location: serde_saphyr::Location) -> Self {
        Self {
            line: location.line().max(1),
            column: location.column().max(1),
        }
    }
}

/// Turns a YAML error into a diagnostic; the error's own snippet of source is left out.
pub(crate) fn from_yaml(file: &Arc<str>, error: &serde_saphyr::Error) -> Diagnostic {
    let at = error.location().map_or(Position::START, Position::from);
    let plain = error.without_snippet().to_string();
    // The library ends its messages with their place, which the diagnostic already gives.
    let told = plain
        .rfind(" at line ")
        .map_or(plain.as_str(), |cut| &plain[..cut]);
    // Its words are for programmers; these are for those who write policies.
    let message = match told {
        "unexpected end of input" => "the file is empty or ends too early".to_owned(),
        "expected sequence start" => "expected a list".to_owned(),
        "expected mapping start" => "expected keys and values".to_owned(),
        "externally tagged enum expected scalar or mapping" => "expected one word".to_owned(),
        told => told
            .split(", set DuplicateKeyPolicy")
            .next()
            .unwrap_or(told)
            .to_owned(),
    };
    Diagnostic::new(file, at, message)
}
