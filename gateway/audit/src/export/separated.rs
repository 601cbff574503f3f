//! A table as comma-separated values.
//!
//! Every cell is quoted, and one that a spreadsheet would take for a formula gets an apostrophe in front: hosts, paths and names of LLMs come from
//! whoever sent the request, and the table is opened by whoever looks into it.
//!
//! On failure: [`io::Error`].

use std::io::{self, Write};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Sheet,
    columns::{COLUMNS, Cell, cells},
};
use crate::search::Row;

/// What makes a formula of a cell, as programs in different languages read it.
const FORMULAS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

pub(super) struct Separated<W: Write>(csv::Writer<W>);

impl<W: Write> Separated<W> {
    pub(super) fn new(file: W) -> io::Result<Self> {
        let mut writer = csv::WriterBuilder::new()
            .quote_style(csv::QuoteStyle::Always)
            .from_writer(file);
        writer.write_record(COLUMNS.map(|(name, _)| name))?;
        Ok(Self(writer))
    }
}

impl<W: Write> Sheet<W> for Separated<W> {
    fn put(&mut self, row: &Row) -> io::Result<()> {
        for cell in cells(row) {
            self.0.write_field(text(cell))?;
        }
        Ok(self.0.write_record(None::<&[u8]>)?)
    }

    fn end(self) -> io::Result<W> {
        self.0.into_inner().map_err(|error| error.into_error())
    }
}

fn text(cell: Cell<'_>) -> String {
    match cell {
        Cell::Absent => String::new(),
        Cell::Text(text) if text.starts_with(FORMULAS) => format!("'{text}"),
        Cell::Text(text) => text.into_owned(),
        Cell::Number(number) => number.to_string(),
        Cell::Flag(flag) => flag.to_string(),
        Cell::Time(at) => OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_text() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "＝1"] {
            assert_eq!(text(formula.into()), format!("'{formula}"));
        }
        assert_eq!(text("gpt-4o".into()), "gpt-4o");
        assert_eq!(text(Cell::Time(1_700_000_000_001)), "2023-11-14T22:13:20.001Z");
    }
}
