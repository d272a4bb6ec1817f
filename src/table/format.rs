//! What kind of table a file is.

/// What kind of table a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Fields separated by commas (or what the header has instead: semicolons, tabs, bars), RFC 4180.
    Csv,
    /// Fields separated by tabs.
    Tsv,
    /// A JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

/// What a Parquet file begins and ends with.
pub(super) const PARQUET_MAGIC: &[u8; 4] = b"PAR1";

impl Format {
    /// By the ending of a file's name, in either case.
    pub fn of_name(name: &[u8]) -> Option<Format> {
        let at = name.iter().rposition(|byte| *byte == b'.')?;
        Some(match name[at + 1..].to_ascii_lowercase().as_slice() {
            b"csv" => Format::Csv,
            b"tsv" | b"tab" => Format::Tsv,
            b"jsonl" | b"ndjson" => Format::Jsonl,
            b"parquet" | b"pq" => Format::Parquet,
            _ => return None,
        })
    }

    /// By what the file begins with, where its name does not tell.
    pub fn of_content(start: &[u8]) -> Option<Format> {
        start.starts_with(PARQUET_MAGIC).then_some(Format::Parquet)
    }

    /// Its name: `csv`, `tsv`, `jsonl`, `parquet`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Jsonl => "jsonl",
            Format::Parquet => "parquet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_known_by_name_or_content() {
        for (name, format) in [
            (&b"a.csv"[..], Some(Format::Csv)),
            (b"A.TSV", Some(Format::Tsv)),
            (b"x.y.ndjson", Some(Format::Jsonl)),
            (b"\xff.pq", Some(Format::Parquet)),
            (b"csv", None),
            (b"a.csv.gz", None),
            (b"", None),
        ] {
            assert_eq!(Format::of_name(name), format, "{name:?}");
        }
        assert_eq!(Format::of_content(b"PAR1..."), Some(Format::Parquet));
        assert_eq!(Format::of_content(b"PAR"), None);
    }
}
