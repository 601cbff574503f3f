//! A table in Apache Parquet, compressed by zstd.
//!
//! Limits: [`GROUP`] rows a row group, which is what is kept in memory until it is written.
//!
//! On failure: [`io::Error`].

use std::{
    io::{self, Write},
    sync::Arc,
};

use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

use super::{
    Sheet,
    columns::{COLUMNS, Cell, Kind, cells},
};
use crate::search::Row;

const GROUP: usize = 4096;

/// The values of a column that wait for their row group, and which rows have one.
struct Waiting {
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Text(Vec<ByteArray>),
    Number(Vec<i64>),
    Flag(Vec<bool>),
}

impl Values {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(Vec::new()),
            Kind::Number | Kind::Time => Self::Number(Vec::new()),
            Kind::Flag => Self::Flag(Vec::new()),
        }
    }
}

impl Waiting {
    fn take(&mut self, cell: Cell<'_>) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let there = match (&mut self.values, cell) {
            (Values::Text(values), Cell::Text(text)) => {
                values.push(text.as_bytes().to_vec().into());
                true
            }
            (Values::Number(values), Cell::Number(value) | Cell::Time(value)) => {
                values.push(number(value));
                true
            }
            (Values::Flag(values), Cell::Flag(flag)) => {
                values.push(flag);
                true
            }
            _ => false,
        };
        self.levels.push(i16::from(there));
    }
}

pub(super) struct Columnar<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    waiting: Vec<Waiting>,
    rows: usize,
}

impl<W: Write + Send> Columnar<W> {
    pub(super) fn new(file: W) -> io::Result<Self> {
        let schema = parse_message_type(&schema()).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("cordon ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer =
            SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
        Ok(Self {
            writer,
            waiting: empty(),
            rows: 0,
        })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let waiting = std::mem::replace(&mut self.waiting, empty());
        self.rows = 0;
        let mut group = self.writer.next_row_group()?;
        for column in waiting {
            write_column(&mut group, &column)?;
        }
        group.close()?;
        Ok(())
    }
}

impl<W: Write + Send> Sheet<W> for Columnar<W> {
    fn put(&mut self, row: &Row) -> io::Result<()> {
        for (column, cell) in self.waiting.iter_mut().zip(cells(row)) {
            column.take(cell);
        }
        self.rows += 1;
        if self.rows == GROUP {
            self.write_group().map_err(failed)?;
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<W> {
        if self.rows > 0 {
            self.write_group().map_err(failed)?;
        }
        self.writer.into_inner().map_err(failed)
    }
}

fn empty() -> Vec<Waiting> {
    let waiting = |(_, kind): &(&str, Kind)| Waiting {
        levels: Vec::new(),
        values: Values::of(*kind),
    };
    COLUMNS.iter().map(waiting).collect()
}

fn write_column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column: &Waiting,
) -> Result<(), ParquetError> {
    let Some(mut writer) = group.next_column()? else {
        return Err(ParquetError::General(
            "more columns than the schema has".to_owned(),
        ));
    };
    let levels = Some(column.levels.as_slice());
    match &column.values {
        Values::Text(values) => writer
            .typed::<ByteArrayType>()
            .write_batch(values, levels, None)?,
        Values::Number(values) => writer.typed::<Int64Type>().write_batch(values, levels, None)?,
        Values::Flag(values) => writer.typed::<BoolType>().write_batch(values, levels, None)?,
    };
    writer.close()
}

fn schema() -> String {
    let columns: String = COLUMNS
        .iter()
        .map(|(name, kind)| match kind {
            Kind::Text => format!("optional binary {name} (STRING);\n"),
            Kind::Number => format!("optional int64 {name};\n"),
            Kind::Flag => format!("optional boolean {name};\n"),
            Kind::Time => format!("optional int64 {name} (TIMESTAMP(MILLIS, true));\n"),
        })
        .collect();
    format!("message exchange {{\n{columns}}}")
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}
