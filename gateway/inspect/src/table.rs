//! Tables in a text: every cell behind the header of its column, as a labelled value would be written.
//!
//! In CSV, TSV and Markdown tables the word that says what a number is stands at the head of its column, and from the
//! second row on other cells lie between. A view of a table writes one column after the other, a line for each cell:
//! `header: cell`. What is found within one cell there is a finding in that cell; the rest is left to the text itself,
//! which is read as well. Quoted cells may hold the mark between cells, but no line break.
//!
//! A table begins where a paragraph does, so that prose costs a look at its line breaks. Its first line has no cell
//! that is long, empty or begins with a digit; the lines below have as many cells as the first.
//!
//! Limits: [`MAX_COLUMNS`], cells of [`MAX_CELL`] bytes; rows are read in blocks of [`ROWS`], and views are not larger
//! than a fixed multiple of the text. Time is linear.
//!
//! On failure: what is no table after all was read as plain text before.

use std::ops::Range;

use crate::{
    moment,
    view::{View, ViewWriter},
};

/// What stands between cells.
const MARKS: [u8; 4] = *b",;\t|";
/// The most columns.
const MAX_COLUMNS: usize = 128;
/// The longest header of a column.
const MAX_HEADER: usize = 48;
/// The longest cell; longer ones are prose, which needs no header.
const MAX_CELL: usize = 160;
/// Rows of one view.
const ROWS: usize = 512;
/// Shorter numbers say nothing, whatever stands above them.
const LEAST_DIGITS: usize = 3;

/// A view of some rows of a table.
pub(crate) struct Table {
    pub(crate) view: View<'static>,
    /// Where cells lie in the view, in order.
    cells: Vec<Range<usize>>,
}

impl Table {
    /// Whether a span of the view lies within one cell.
    pub(crate) fn is_in_cell(&self, span: &Range<usize>) -> bool {
        let index = self.cells.partition_point(|cell| cell.end < span.end);
        self.cells
            .get(index)
            .is_some_and(|cell| cell.start <= span.start && span.end <= cell.end)
    }

    /// The cells that hold a Unix time and stand in a column of times, as spans of what the view was made of.
    pub(crate) fn moments(&self) -> impl Iterator<Item = Range<usize>> {
        let text = self.view.text();
        let is_moment = |cell: &&Range<usize>| {
            moment::is_unix_time(&text[(*cell).clone()]) && moment::label_before(text, cell.start).is_some()
        };
        self.cells
            .iter()
            .filter(is_moment)
            .map(|cell| self.view.source_span(cell.clone()))
    }
}

/// Calls `read` with the views of each table in a text.
pub(crate) fn each(text: &str, mut read: impl FnMut(&Table)) {
    let mut start = 0;
    let mut begins = true;
    while start < text.len() {
        let line = line_at(text, start);
        let next = line.end + 1;
        if begins && let Some(end) = table(text, &line, &mut read) {
            start = end;
            continue;
        }
        let end = text[line.clone()].trim_end();
        begins = end.is_empty() || end.ends_with(':') || end.starts_with("```");
        start = next;
    }
}

/// The line that begins at a place, without its line break.
fn line_at(text: &str, start: usize) -> Range<usize> {
    let end = memchr::memchr(b'\n', &text.as_bytes()[start..]).map_or(text.len(), |at| start + at);
    start..end
}

/// Reads the table whose first line this is, if there is one; returns where it ends.
fn table(text: &str, first: &Range<usize>, read: &mut impl FnMut(&Table)) -> Option<usize> {
    let below = first.end + 1;
    if below >= text.len() || first.len() > MAX_COLUMNS * MAX_HEADER {
        return None;
    }
    let second = line_at(text, below);
    let mark = MARKS.into_iter().find(|mark| {
        let count = |line: &Range<usize>| memchr::memchr_iter(*mark, &text.as_bytes()[line.clone()]).count();
        let own = count(first);
        own > 0 && own < MAX_COLUMNS && own <= count(&second)
    })?;
    let headers = cells(text, first, mark)?;
    if !headers.iter().all(|header| is_header(&text[header.clone()])) {
        return None;
    }
    let mut rows = Vec::new();
    let mut any = 0;
    let mut start = below;
    while start < text.len() {
        let line = line_at(text, start);
        let Some(row) = cells(text, &line, mark).filter(|row| row.len() == headers.len()) else {
            break;
        };
        start = line.end + 1;
        any += 1;
        rows.push(row);
        // Two columns of one row are as often two clauses of a sentence.
        if rows.len() == ROWS {
            read(&written(text, &headers, &rows));
            rows.clear();
        }
    }
    if any == 0 || (headers.len() == 2 && any == 1) {
        return None;
    }
    if !rows.is_empty() {
        read(&written(text, &headers, &rows));
    }
    Some(start.min(text.len()))
}

/// The cells of a line without blanks and quotes around them; none when it is no row.
fn cells(text: &str, line: &Range<usize>, mark: u8) -> Option<Vec<Range<usize>>> {
    let bytes = text.as_bytes();
    let mut line = line.clone();
    if mark == b'|' {
        // Markdown draws a mark at both ends, too.
        let inner = text[line.clone()].trim().trim_matches('|');
        let offset = inner.as_ptr() as usize - text.as_ptr() as usize;
        line = offset..offset + inner.len();
    }
    let mut all = Vec::new();
    let mut start = line.start;
    let mut quoted = false;
    for at in line.clone() {
        if bytes[at] == b'"' {
            quoted = !quoted;
        } else if bytes[at] == mark && !quoted {
            all.push(bare(text, start..at));
            start = at + 1;
        }
        if all.len() == MAX_COLUMNS {
            return None;
        }
    }
    all.push(bare(text, start..line.end));
    (all.len() >= 2).then_some(all)
}

/// A cell without the blanks and quotes around it.
fn bare(text: &str, cell: Range<usize>) -> Range<usize> {
    let around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '*');
    let inner = text[cell.clone()].trim_start_matches(around);
    let start = cell.end - inner.len();
    start..start + inner.trim_end_matches(around).len()
}

/// Whether a cell could be the head of a column: short, begins with a letter, and is no value itself.
fn is_header(cell: &str) -> bool {
    cell.len() <= MAX_HEADER
        && cell.chars().next().is_some_and(char::is_alphabetic)
        && cell.bytes().filter(u8::is_ascii_digit).count() < LEAST_DIGITS
        && !cell.contains(['@', '(', '{', '=', ';', '"', '!', '?'])
}

/// Whether a cell may hold something.
fn is_worth(cell: &str) -> bool {
    let digits = cell.bytes().filter(u8::is_ascii_digit).count();
    cell.len() <= MAX_CELL && (digits >= LEAST_DIGITS || cell.chars().any(char::is_alphabetic))
}

fn written(text: &str, headers: &[Range<usize>], rows: &[Vec<Range<usize>>]) -> Table {
    let mut writer = ViewWriter::with_capacity(rows.len() * headers.len() * 24);
    let mut all = Vec::new();
    for (column, header) in headers.iter().enumerate() {
        for row in rows {
            let cell = &row[column];
            if !is_worth(&text[cell.clone()]) {
                continue;
            }
            writer.copy(&text[header.clone()], header.start);
            writer.put(": ", cell.start..cell.start);
            let start = writer.text().len();
            writer.copy(&text[cell.clone()], cell.start);
            all.push(start..writer.text().len());
            writer.put("\n", cell.end..cell.end);
        }
    }
    Table {
        view: writer.finish(),
        cells: all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> String {
        let mut all = String::new();
        each(text, |table| {
            for cell in &table.cells {
                assert!(table.is_in_cell(cell));
                assert_eq!(
                    table.view.text()[cell.clone()],
                    text[table.view.source_span(cell.clone())]
                );
            }
            all.push_str(table.view.text());
        });
        all
    }

    #[test]
    fn writes_cells_behind_their_headers() {
        let csv = "See:\nname,\"tax no\",city\nKira,\"12,34567\",Ulm\nOdo,7654321,\n\nEnd.";
        assert_eq!(
            seen(csv),
            "name: Kira\nname: Odo\ntax no: 12,34567\ntax no: 7654321\ncity: Ulm\n"
        );
        assert_eq!(
            seen("| Name | PESEL |\n|---|---|\n| Kira | 44051401458 |\n"),
            "Name: Kira\nPESEL: 44051401458\n"
        );
        assert_eq!(
            seen("a\tbsn\n1\t111222333\n2\t123456782"),
            "bsn: 111222333\nbsn: 123456782\n"
        );
    }

    #[test]
    fn prose_and_code_are_no_tables() {
        for text in [
            "Dear Kira, thanks\nWe met, then left.",
            "let a = f(1, 2);\nlet b = f(3, 4);",
            "1,2,3\n4,5,6",
            "a,b",
            "",
            "\n\n|",
        ] {
            assert_eq!(seen(text), "", "{text}");
        }
    }

    #[test]
    fn long_tables_are_read_in_blocks() {
        let rows: String = (0..2000).map(|row| format!("{row},value {row}\n")).collect();
        let mut views = 0;
        let mut cells = 0;
        each(&format!("number,what\n{rows}"), |table| {
            views += 1;
            cells += table.cells.len();
        });
        assert_eq!((views, cells), (4, 2000 + 1900));
    }

    #[test]
    fn views_do_not_outgrow_the_text() {
        for line in ["a|", "||", "a,", "\t\t", "\"\"", "a\n", "é|é|\n"] {
            let text = line.repeat((1 << 18) / line.len());
            let mut bytes = 0;
            each(&text, |table| bytes += table.view.text().len());
            assert!(bytes <= 32 * text.len(), "{line}");
        }
    }
}
