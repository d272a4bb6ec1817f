//! Tables that somebody else wrote.

use std::sync::Arc;

use stratafs::table::{Bytes, Format, columns, open};

const FORMATS: [Format; 4] = [Format::Csv, Format::Tsv, Format::Jsonl, Format::Parquet];

/// A table of one of the formats: every row has a value for each column, and reading it twice gives the same.
pub fn tables(bytes: &[u8]) {
    let Some((sort, bytes)) = bytes.split_first() else { return };
    let format = FORMATS[usize::from(*sort) % FORMATS.len()];
    let bytes: Arc<dyn Bytes> = Arc::new(bytes.to_vec());
    let first = read(&bytes, format);
    assert_eq!(first, read(&bytes, format), "{format:?}");
    match (first, columns(&bytes, format)) {
        (Ok((_, names)), Ok(columns)) => {
            assert!(columns.into_iter().map(|column| column.name).eq(names), "{format:?}");
        }
        // Of Parquet only what the file declares is looked at.
        (Err(_), Ok(_)) => assert_eq!(format, Format::Parquet),
        (Err(_), Err(_)) => {}
        (Ok(_), Err(error)) => panic!("{format:?}: {error}"),
    }
}

/// The number of rows, and the names of columns.
fn read(bytes: &Arc<dyn Bytes>, format: Format) -> Result<(u64, Vec<String>), String> {
    let mut rows = open(bytes, format).map_err(|error| error.to_string())?;
    let (mut row, mut count) = (Vec::new(), 0);
    while rows.next(&mut row).map_err(|error| error.to_string())? {
        assert_eq!(row.len(), rows.columns().len(), "{format:?}");
        count += 1;
    }
    let names: Vec<String> = rows.columns().iter().map(|column| column.name.clone()).collect();
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), names.len(), "columns of one name: {names:?}");
    Ok((count, names))
}

/// Tables of all formats.
pub fn seeds() -> Vec<Vec<u8>> {
    let of = |sort: u8, bytes: &[u8]| [&[sort], bytes].concat();
    vec![
        of(0, b"a,b,a\r\n1,\"x,\"\"y\nz\",\n\n-1.5e3,true,2026-11-01\n"),
        of(0, "\u{feff}a;b\n1;\"2\"\n".as_bytes()),
        of(1, b"a\tb\n1\t\"\t\"\n"),
        of(2, b"{\"a\":1,\"b\":[1,{\"c\":null}]}\n\n{\"a\":1e400,\"c\":\"\\u00e9\"}\n"),
        of(3, include_bytes!("../../e2e/sample.parquet")),
    ]
}
