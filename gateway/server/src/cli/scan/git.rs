//! What commits, or the index, add to files: the output of `git log -p` and `git diff --cached`.
//!
//! Each change keeps a few lines around what was added, since a word near a value counts; only findings
//! that touch an added line are reported, under their line numbers in the new file. Commits are
//! read one by one, so a secret that a later commit takes out again is found as well: it would be pushed. Those of
//! merged branches are among them, so of a merge only the lines that none of its parents has are its own.
//!
//! Limits: [`LARGEST_CHANGE`] bytes of one change; what is beyond is a further change of the same file.
//!
//! On failure: git's own message and status, as an error of the whole scan.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The largest text of one change.
const LARGEST_CHANGE: usize = 16 << 20;

/// Merges are held against all of their parents at once.
const LOG: [&str; 4] = ["log", "-p", "--format=commit %h", "-c"];

/// A part of a file that a commit adds.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Change {
    pub(super) path: PathBuf,
    /// The commit, shortened; none for the index.
    pub(super) commit: Option<String>,
    pub(super) text: String,
    /// For each line of the text, its number in the new file, and whether it was added.
    pub(super) lines: Vec<(usize, bool)>,
}

/// Which changes.
pub(super) enum Which<'a> {
    Range(&'a str),
    Since(&'a str),
    Staged,
}

/// The changes of a repository, read as git prints them.
pub(super) struct Changes {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(super) binary: usize,
    ended: bool,
}

impl Changes {
    /// Starts git in the working folder.
    pub(super) fn of(which: &Which<'_>) -> Result<Self> {
        let mut git = Command::new("git");
        git.args(["-c", "core.quotePath=false"]);
        match which {
            Which::Staged => git.args(["diff", "--cached"]),
            Which::Range(_) => git.args(LOG),
            Which::Since(date) => git.args(LOG).arg(format!("--since={date}")),
        };
        git.args([
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            "--unified=3",
        ]);
        if let Which::Range(range) = which {
            git.args(["--end-of-options", range]);
        }
        git.arg("--");
        let mut child = git
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run git")?;
        let out = child.stdout.take().expect("standard output is piped");
        Ok(Self {
            child,
            lines: Lines::new(BufReader::new(out)),
            binary: 0,
            ended: false,
        })
    }
}

impl Iterator for Changes {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.lines.next(&mut self.binary) {
            Ok(Some(change)) => return Some(Ok(change)),
            Ok(None) => {}
            Err(fault) => {
                self.ended = true;
                return Some(Err(fault));
            }
        }
        self.ended = true;
        match self.child.wait() {
            Ok(status) if status.success() => None,
            Ok(status) => Some(Err(anyhow::anyhow!("git ended with {status}"))),
            Err(fault) => Some(Err(fault).context("cannot wait for git")),
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        // Where reading stopped early, git must not stay behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many lines of the present hunk are still to come.
#[derive(Default)]
struct Left {
    /// In the old file of each parent, whose marks stand side by side.
    old: Vec<usize>,
    new: usize,
}

impl Left {
    fn is_over(&self) -> bool {
        self.new == 0 && self.old.iter().all(|left| *left == 0)
    }
}

/// Takes the output of git apart.
struct Lines<R> {
    source: R,
    commit: Option<String>,
    path: Option<PathBuf>,
    left: Left,
    number: usize,
    text: Vec<u8>,
    lines: Vec<(usize, bool)>,
}

impl<R: BufRead> Lines<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            commit: None,
            path: None,
            left: Left::default(),
            number: 0,
            text: Vec::new(),
            lines: Vec::new(),
        }
    }

    fn next(&mut self, binary: &mut usize) -> Result<Option<Change>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = self
                .source
                .read_until(b'\n', &mut line)
                .context("cannot read what git prints")?;
            if read == 0 {
                return Ok(self.taken());
            }
            if !self.left.is_over() {
                self.within(&line)?;
                if self.text.len() >= LARGEST_CHANGE {
                    return Ok(self.taken());
                }
                continue;
            }
            // The form of the lines between hunks is git's own and UTF-8 but for names.
            let head = String::from_utf8_lossy(&line);
            let head = head.trim_end_matches('\n');
            if let Some(id) = head.strip_prefix("commit ") {
                let done = self.taken();
                self.commit = Some(id.to_owned());
                if done.is_some() {
                    return Ok(done);
                }
            } else if head.starts_with("diff ") {
                let done = self.taken();
                self.path = None;
                if done.is_some() {
                    return Ok(done);
                }
            } else if let Some(name) = head.strip_prefix("+++ ") {
                self.path = new_name(name);
            } else if let Some(hunk) = head.strip_prefix("@@") {
                let Some((left, start)) = counts(hunk) else {
                    bail!("git printed a hunk that cannot be read");
                };
                if !self.lines.is_empty() {
                    // Hunks are apart in the file, so no value may reach from one into the next.
                    self.text.extend_from_slice(b"\n\n");
                    let before = self.number;
                    self.lines.push((before, false));
                    self.lines.push((before, false));
                }
                self.left = left;
                self.number = start;
            } else if head.starts_with("Binary files ") {
                *binary += 1;
            }
        }
    }

    fn within(&mut self, line: &[u8]) -> Result<()> {
        // "\ No newline at end of file"
        if line.starts_with(b"\\") {
            return Ok(());
        }
        let Some((marks, rest)) = line.split_at_checked(self.left.old.len()) else {
            bail!("git printed a hunk that cannot be read");
        };
        if !marks.iter().all(|mark| b" +-".contains(mark)) {
            bail!("git printed a hunk that cannot be read");
        }
        let removed = marks.contains(&b'-');
        // A blank is a line that the parent has: in a line that is removed, only its marks tell who had it.
        let had = if removed { b'-' } else { b' ' };
        for (left, mark) in self.left.old.iter_mut().zip(marks) {
            *left = left.saturating_sub(usize::from(*mark == had));
        }
        if removed {
            return Ok(());
        }
        let added = marks.iter().all(|mark| *mark == b'+');
        self.left.new = self.left.new.saturating_sub(1);
        self.text.extend_from_slice(rest);
        self.lines.push((self.number, added));
        self.number += 1;
        Ok(())
    }

    /// What was gathered of the present file, if anything was added.
    fn taken(&mut self) -> Option<Change> {
        let text = std::mem::take(&mut self.text);
        let lines = std::mem::take(&mut self.lines);
        if !lines.iter().any(|(_, added)| *added) {
            return None;
        }
        Some(Change {
            path: self.path.clone()?,
            commit: self.commit.clone(),
            text: String::from_utf8_lossy(&text).into_owned(),
            lines,
        })
    }
}

/// `b/some name` or `"b/some \"name\""`, or none for `/dev/null`.
fn new_name(name: &str) -> Option<PathBuf> {
    let name = name.trim_end_matches(['\t', '\r']);
    let plain = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        None => name.to_owned(),
        Some(quoted) => {
            let (mut plain, mut escaped) = (String::new(), false);
            for c in quoted.chars() {
                match (escaped, c) {
                    (false, '\\') => escaped = true,
                    (true, 't') => {
                        plain.push('\t');
                        escaped = false;
                    }
                    (true, 'n') => {
                        plain.push('\n');
                        escaped = false;
                    }
                    (_, c) => {
                        plain.push(c);
                        escaped = false;
                    }
                }
            }
            plain
        }
    };
    plain.strip_prefix("b/").map(PathBuf::from)
}

/// ` -1,2 +3,4 @@ ...`, for a merge `@ -1,2 -1,3 +3,4 @@@ ...`, behind two `@`: the lines in the old files and the
/// new one, and the first in the new one.
fn counts(hunk: &str) -> Option<(Left, usize)> {
    let range = |word: &str| -> Option<(usize, usize)> {
        match word.split_once(',') {
            None => Some((word.parse().ok()?, 1)),
            Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
        }
    };
    let mut left = Left::default();
    for word in hunk.trim_start_matches('@').split_ascii_whitespace() {
        if let Some(old) = word.strip_prefix('-') {
            left.old.push(range(old)?.1);
        } else {
            let (start, new) = range(word.strip_prefix('+')?)?;
            left.new = new;
            return (!left.old.is_empty()).then_some((left, start));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(printed: &str) -> (Vec<Change>, usize) {
        let mut lines = Lines::new(printed.as_bytes());
        let mut binary = 0;
        let mut all = Vec::new();
        while let Some(change) = lines.next(&mut binary).unwrap() {
            all.push(change);
        }
        (all, binary)
    }

    #[test]
    fn lines_keep_their_numbers_in_the_new_file() {
        let printed = "commit abc1234\n\ndiff --git a/x y b/x y\n--- a/x y\n+++ b/x y\t\n\
            @@ -1,2 +1,3 @@\n one\n-two\n+--- a/not a header\n+++ b/neither\n@@ -9 +10 @@ fn a()\n-nine\n+ten\n\
            \\ No newline at end of file\ndiff --git a/p.png b/p.png\nBinary files a/p.png and b/p.png differ\n\
            diff --git a/gone b/gone\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-was\n";
        let (all, binary) = changes(printed);
        assert_eq!((all.len(), binary), (1, 1));
        assert_eq!(all[0].path, PathBuf::from("x y"));
        assert_eq!(all[0].commit.as_deref(), Some("abc1234"));
        assert_eq!(all[0].text, "one\n--- a/not a header\n++ b/neither\n\n\nten\n");
        assert_eq!(
            all[0].lines,
            [
                (1, false),
                (2, true),
                (3, true),
                (4, false),
                (4, false),
                (10, true)
            ]
        );
    }

    #[test]
    fn of_a_merge_lines_of_no_parent_are_added() {
        let printed = "commit abc1234\n\ndiff --combined a\nindex 1,2..3\n--- a/a\n+++ b/a\n@@@ -1,5 -1,4 +1,6 @@@\n \
            +zero\n  one\n--two\n++evil\n  three\n- four\n -fourS\n++fourS\n++end\ndiff --combined n\n\
            new file mode 100644\n--- /dev/null\n+++ b/n\n@@@ -1,0 -1,0 +1,1 @@@\n++new\n\
            diff --combined p\nBinary files differ\n";
        let (all, binary) = changes(printed);
        assert_eq!((all.len(), binary), (2, 1));
        assert_eq!(all[0].text, "zero\none\nevil\nthree\nfourS\nend\n");
        let added: Vec<usize> = all[0]
            .lines
            .iter()
            .filter(|line| line.1)
            .map(|line| line.0)
            .collect();
        assert_eq!(added, [3, 5, 6]);
        assert_eq!(all[1].lines, [(1, true)]);
    }

    #[test]
    fn broken_output_is_an_error() {
        let mut binary = 0;
        assert!(Lines::new("@@ what @@\n".as_bytes()).next(&mut binary).is_err());
        assert!(
            Lines::new("+++ b/a\n@@ -1 +1 @@\nwhat\n".as_bytes())
                .next(&mut binary)
                .is_err()
        );
    }

    #[test]
    fn quoted_names_are_read() {
        assert_eq!(new_name("\"b/a\\\"b\\\\c\""), Some(PathBuf::from("a\"b\\c")));
        assert_eq!(new_name("/dev/null"), None);
    }
}
