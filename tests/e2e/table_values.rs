//! What values of tables are told to be: times, long numbers, values within others, and names of columns.

use std::fs;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FixedLenByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use crate::harness::*;
use crate::table_diffs::{column, told, two};

/// The values of a column of Parquet.
enum Leaf {
    Whole(Vec<i64>),
    Double(Vec<f64>),
    Bytes(Vec<Vec<u8>>),
    Fixed(Vec<Vec<u8>>),
}

/// A column: its values, and where they are in lists the definition and repetition levels.
type Written = (Leaf, Option<(Vec<i16>, Vec<i16>)>);

fn flat(leaf: Leaf) -> Written {
    (leaf, None)
}

/// A row that is a list of these values.
fn list(leaf: Leaf) -> Written {
    let count = match &leaf {
        Leaf::Whole(all) => all.len(),
        Leaf::Double(all) => all.len(),
        Leaf::Bytes(all) | Leaf::Fixed(all) => all.len(),
    };
    (leaf, Some((vec![1; count], (0..count).map(|at| i16::from(at > 0)).collect())))
}

/// A file of Parquet.
fn parquet(schema: &str, columns: Vec<Written>) -> Vec<u8> {
    let end = if schema.ends_with('}') { "" } else { ";" };
    let schema = parse_message_type(&format!("message m {{ {schema}{end} }}")).expect("a schema");
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), properties).expect("a writer");
    let mut rows = file.next_row_group().expect("a row group");
    for (leaf, levels) in columns {
        let (def, rep) = levels.map_or((None, None), |(def, rep)| (Some(def), Some(rep)));
        let (def, rep) = (def.as_deref(), rep.as_deref());
        let mut column = rows.next_column().expect("read the schema").expect("a column");
        match leaf {
            Leaf::Whole(all) => column.typed::<Int64Type>().write_batch(&all, def, rep),
            Leaf::Double(all) => column.typed::<DoubleType>().write_batch(&all, def, rep),
            Leaf::Bytes(all) => {
                let all: Vec<_> = all.into_iter().map(Into::into).collect();
                column.typed::<ByteArrayType>().write_batch(&all, def, rep)
            }
            Leaf::Fixed(all) => {
                let all: Vec<_> = all.into_iter().map(|bytes| ByteArray::from(bytes).into()).collect();
                column.typed::<FixedLenByteArrayType>().write_batch(&all, def, rep)
            }
        }
        .expect("write values");
        column.close().expect("close the column");
    }
    rows.close().expect("close the row group");
    file.into_inner().expect("close the file")
}

/// Writes a file twice; tells how its table differs.
fn differs(m: &Mount, d: &Dataset<'_>, name: &str, sides: [&[u8]; 2], arguments: &[&str]) -> Value {
    sides.iter().for_each(|bytes| d.write(name, bytes));
    told(m, &[&["d@prev", "d", name], arguments].concat())["table"].clone()
}

/// The type of a list of these elements.
fn list_of(element: &str) -> String {
    format!("required group l (LIST) {{ repeated group list {{ required {element}; }} }}")
}

/// Of how many rows both have, and how many only one has.
fn counts(table: &Value) -> [u64; 3] {
    ["unchanged", "added", "removed"].map(|kind| table["rows"][kind].as_u64().expect("a number"))
}

const INSTANT: i64 = 1_577_840_523_456_789;

/// Instants and times of day of Parquet are the same in every unit, also as a key and within lists, and are shown as
/// times.
#[test]
fn times_of_all_units_are_the_same() {
    let m = Mount::new();
    let d = m.dataset("d");
    let table = |unit: &str, times: i64, more: i64| {
        let of = |kind: &str, name: &str| format!("int64 {name} ({kind}({unit},false))");
        let (t, d) = (of("TIMESTAMP", "t"), of("TIME", "d"));
        let schema = format!("required {t}; required {d}; {}", list_of(&of("TIMESTAMP", "element")));
        let of_day = 3_723_000_004;
        let times = [INSTANT * times, of_day * times + more, INSTANT * times];
        let [instant, of_day, element] = times.map(|time| Leaf::Whole(vec![time]));
        parquet(&schema, vec![flat(instant), flat(of_day), list(element)])
    };
    let (micros, nanos, later) = (table("MICROS", 1, 0), table("NANOS", 1000, 0), table("NANOS", 1000, 5));
    assert_eq!(counts(&differs(&m, &d, "t.parquet", [&nanos, &micros], &[])), [1, 0, 0]);
    let table = differs(&m, &d, "t.parquet", [&micros, &later], &["--rows", "1", "--key", "t,l"]);
    assert_eq!(table["rows"]["changed"], 1, "{table}");
    assert_eq!(
        table["samples"]["changed"][0],
        json!({
            "row_before": 1, "row_after": 1,
            "key": {"t": "2020-01-01T01:02:03.456789000Z", "l": ["2020-01-01T01:02:03.456789000Z"]},
            "before": {"d": "01:02:03.000004"}, "after": {"d": "01:02:03.000004005"},
        })
    );
    let t = column(&table, "t");
    assert_eq!(t["after"]["type"], "timestamp[ns]");
    assert_eq!((&t["after"]["min"], &t["before"]["min"]), (&t["before"]["max"], &t["after"]["max"]));
}

/// The least and the greatest of whole numbers and decimals are exact, however long they are.
#[test]
fn bounds_are_exact() {
    let m = Mount::new();
    let d = m.dataset("d");
    let big = [(1_i64 << 53) + 1, (1 << 53) + 3];
    let csv = big.map(|n| format!("x\n{n}\n-{n}\n"));
    let jsonl = big.map(|n| format!("{{\"x\":{n}}}\n{{\"x\":-{n}}}\n"));
    let of_parquet = big.map(|n| parquet("required int64 x", vec![flat(Leaf::Whole(vec![n, -n]))]));
    for (name, [before, after]) in [
        ("t.csv", csv.map(String::into_bytes)),
        ("t.jsonl", jsonl.map(String::into_bytes)),
        ("t.parquet", of_parquet),
    ] {
        let table = differs(&m, &d, name, [&before, &after], &[]);
        let x = column(&table, "x");
        for (side, n) in ["before", "after"].into_iter().zip(big) {
            assert_eq!((&x[side]["min"], &x[side]["max"]), (&json!(-n), &json!(n)), "{name}");
        }
        let text = m.strata(&["diff", "d@prev", "d", name]).ok();
        assert!(text.contains("max 9007199254740993 -> 9007199254740995"), "{name}: {text}");
    }
    let unsigned = [-1, -2]
        .map(|n| parquet("required int64 x (INTEGER(64,false))", vec![flat(Leaf::Whole(vec![1, n]))]));
    let table = differs(&m, &d, "t.parquet", [&unsigned[0], &unsigned[1]], &[]);
    let x = column(&table, "x");
    assert_eq!((&x["before"]["max"], &x["after"]["max"]), (&json!(u64::MAX), &json!(u64::MAX - 1)));

    // Decimals of 256 bits have digits, and bounds that are those.
    let long = |last: u8| [&[0; 7][..], &[0x11; 24], &[last]].concat();
    let negative = vec![0xff; 32];
    let decimals = [0x11, 0x12].map(|last| {
        let values = Leaf::Fixed(vec![long(last), negative.clone()]);
        parquet("required fixed_len_byte_array(32) x (DECIMAL(60,2))", vec![flat(values)])
    });
    let table = differs(&m, &d, "t.parquet", [&decimals[0], &decimals[1]], &["--rows", "1"]);
    let texts = ["25", "26"]
        .map(|last| json!(format!("1071292029505993517027974728227441735014801995855195223534.{last}")));
    let x = column(&table, "x");
    assert_eq!(x["before"]["max"], table["samples"]["removed"][0]["values"]["x"]);
    assert_eq!((&x["before"]["min"], &x["before"]["type"]), (&json!(-0.01), &json!("decimal(60, 2)")));
    assert_eq!([&x["before"]["max"], &x["after"]["max"]], [&texts[0], &texts[1]]);
}

/// A file that begins as Parquet does is a table where it is asked for by its path, whatever its name, and where a
/// step is judged.
#[test]
fn what_begins_as_parquet_is_a_table() {
    let m = Mount::new();
    let d = m.dataset("d");
    let whole = |values: &[i64]| flat(Leaf::Whole(values.to_vec()));
    let before = parquet("required int64 a; required int64 b", vec![whole(&[1]), whole(&[2])]);
    let after = parquet("required int64 a", vec![whole(&[1])]);
    let table = differs(&m, &d, "data.bin", [&before, &after], &[]);
    assert_eq!(column(&table, "b")["change"], "removed");
    assert!(m.strata(&["diff", "d@v1/data.bin", "d/data.bin"]).ok().contains("- b (int64)"));
    assert!(told(&m, &["d@v1", "d", "data.bin", "--bytes"]).get("table").is_none());
    assert!(told(&m, &["d@v1", "d"]).get("table").is_none(), "nothing was asked for by its path");
    let step = m.strata(&["bump", "--suggest", "d", "--since", "v1"]).ok();
    assert!(step.contains("column removed data.bin: b"), "{step}");
    d.write("data.bin", "no table");
    assert!(told(&m, &["d@v1", "d", "data.bin"]).get("table").is_none());
}

/// Columns of Parquet of one name are told apart as those of CSV are, and each has its own values.
#[test]
fn columns_of_one_name_are_told_apart() {
    let m = Mount::new();
    let d = m.dataset("d");
    let schema =
        "required int64 a; required int64 a; required group s { required int64 x; required int64 x; }";
    let table = |second: i64| {
        let whole = |n: i64| flat(Leaf::Whole(vec![1, n]));
        parquet(schema, vec![whole(2), whole(second), whole(3), whole(4)])
    };
    let told = differs(&m, &d, "t.parquet", [&table(5), &table(6)], &["--key", "a", "--rows", "1"]);
    let names: Vec<&Value> =
        told["columns"].as_array().expect("columns").iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["a", "a.1", "s"]);
    let changed = ["a", "a.1", "s"].map(|name| column(&told, name)["changed"].as_u64());
    assert_eq!(changed, [Some(0), Some(1), Some(0)]);
    let sample = &told["samples"]["changed"][0];
    assert_eq!((&sample["before"], &sample["after"]), (&json!({"a.1": 5}), &json!({"a.1": 6})));
    let other = parquet(
        "required int64 a; required int64 a",
        vec![flat(Leaf::Whole(vec![1])), flat(Leaf::Whole(vec![2]))],
    );
    let told = differs(&m, &d, "t.parquet", [&table(5), &other], &["--rows", "9"]);
    assert_eq!(told["samples"]["removed"][0]["values"], json!({"a": 1, "a.1": 1, "s": {"x": 1, "x.1": 1}}));
    assert_eq!(told["samples"]["added"][0]["values"], json!({"a": 1, "a.1": 2}));
    let changes: Vec<&Value> =
        told["columns"].as_array().expect("columns").iter().map(|c| &c["change"]).collect();
    assert_eq!(changes, [&Value::Null, &Value::Null, &json!("removed")]);
}

/// Tables of many columns take time as they take room; JSON Lines whose keys are data are refused.
#[test]
fn tables_of_many_columns_are_compared() {
    let m = Mount::new();
    let d = m.dataset("d");
    let count = 100_000;
    for same_name in [false, true] {
        let name = |n: usize| if same_name { "c".to_owned() } else { format!("c{n}") };
        let names: Vec<String> = (0..count).map(name).collect();
        let row = |cell: &str| vec![cell; count].join(",");
        let [before, after] = ["2", "3"].map(|n| format!("{}\n{}\n{}\n", names.join(","), row("1"), row(n)));
        let table = differs(&m, &d, "t.csv", [before.as_bytes(), after.as_bytes()], &[]);
        assert_eq!(counts(&table), [1, 1, 1]);
        assert_eq!(table["columns"].as_array().expect("columns").len(), count);
    }
    let keys = |most: usize, value: usize| -> String {
        (0..most).map(|n| format!("{{\"k{n}\":{value}}}\n")).collect()
    };
    d.write("t.jsonl", keys(10_001, 1));
    d.write("t.jsonl", keys(10_001, 2));
    let told = m.strata(&["diff", "d@prev", "d", "t.jsonl"]).fails(1);
    assert!(told.contains("t.jsonl as a table: line 10001: more than 10000 different keys"), "{told}");
}

/// Values within others are compared as those that are not: numbers by their value, bytes apart from text.
#[test]
fn values_within_others_are_compared_alike() {
    let m = Mount::new();
    let d = m.dataset("d");
    let before = "{\"a\":{\"x\":1},\"b\":[1,[-0.0]],\"c\":{\"y\":[1,null],\"x\":\"1\"}}\n";
    let after = "{\"a\":{\"x\":1.0},\"b\":[1.0,[0]],\"c\":{\"x\":\"1\",\"y\":[1e0,null]}}\n\n";
    assert_eq!(counts(&differs(&m, &d, "t.jsonl", [before.as_bytes(), after.as_bytes()], &[])), [1, 0, 0]);
    for other in ["{\"a\":[1]}", "{\"a\":[\"1\"]}", "{\"a\":[[1]]}", "{\"a\":{\"1\":1}}", "{\"a\":[1,null]}"]
    {
        let table = differs(&m, &d, "t.jsonl", [other.as_bytes(), b"{\"a\":[2]}"], &[]);
        assert_eq!(counts(&table), [0, 1, 1], "{other}");
        let table = differs(&m, &d, "t.jsonl", [other.as_bytes(), b"{\"a\":[true]}"], &[]);
        assert_eq!(counts(&table), [0, 1, 1], "{other}");
    }

    let of = |element: &str, leaf: Leaf| parquet(&list_of(element), vec![list(leaf)]);
    let decimal = |scale: u32, unscaled: i64| {
        of(&format!("int64 element (DECIMAL(9,{scale}))"), Leaf::Whole(vec![unscaled]))
    };
    let bytes = |element: &str, bytes: &[u8]| of(element, Leaf::Bytes(vec![bytes.to_vec()]));
    let (whole, double) = ("int64 element", "double element");
    let (binary, text) = ("binary element", "binary element (UTF8)");
    for (old, new, wanted) in [
        (of(whole, Leaf::Whole(vec![1, 2])), of(double, Leaf::Double(vec![1.0, 2.0])), [1, 0, 0]),
        (of(whole, Leaf::Whole(vec![1, 2])), of(double, Leaf::Double(vec![1.0, 2.5])), [0, 1, 1]),
        (
            of(whole, Leaf::Whole(vec![1 << 62])),
            of(double, Leaf::Double(vec![(1_u64 << 62) as f64])),
            [1, 0, 0],
        ),
        (
            of(whole, Leaf::Whole(vec![(1 << 62) + 1])),
            of(double, Leaf::Double(vec![(1_u64 << 62) as f64])),
            [0, 1, 1],
        ),
        (of(double, Leaf::Double(vec![-0.0])), of(double, Leaf::Double(vec![0.0, 0.0])), [0, 1, 1]),
        (of(double, Leaf::Double(vec![-0.0])), of(double, Leaf::Double(vec![0.0])), [1, 0, 0]),
        (decimal(1, 15), decimal(3, 1500), [1, 0, 0]),
        (decimal(1, 15), decimal(3, 1501), [0, 1, 1]),
        (bytes(binary, b"\xff"), bytes(text, b"ff"), [0, 1, 1]),
    ] {
        let table = differs(&m, &d, "t.parquet", [&old, &new], &[]);
        assert_eq!(counts(&table), wanted, "{table}");
    }
    let [binary, text] = ["required binary x", "required binary x (UTF8)"];
    let plain = |schema: &str, value: &[u8]| parquet(schema, vec![flat(Leaf::Bytes(vec![value.to_vec()]))]);
    let table =
        differs(&m, &d, "t.parquet", [&plain(binary, b"\xff"), &plain(text, b"ff")], &["--rows", "1"]);
    assert_eq!(counts(&table), [0, 1, 1]);
    assert_eq!(table["samples"]["removed"][0]["values"]["x"], "ff");
}

/// Numbers that differ are shown as they differ.
#[test]
fn all_digits_of_what_differs_are_shown() {
    let m = Mount::new();
    let row = |loss: &str| format!("{{\"id\":1,\"loss\":{loss}}}\n");
    two(&m, "t.jsonl", &row("0.30000001"), &row("0.30000002"));
    let text = m.strata(&["diff", "d@v1", "d", "t.jsonl", "--key", "id", "--rows", "3"]).ok();
    assert!(text.contains("max 0.30000001 -> 0.30000002"), "{text}");
    assert!(text.contains("~ row 1 (id=1): loss 0.30000001 -> 0.30000002"), "{text}");
}

/// What cannot be read says why: Parquet whose columns are encrypted, numbers that JSON has not.
#[test]
fn what_is_no_table_says_why() {
    let m = Mount::new();
    let d = m.dataset("d");
    let sound = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/encrypted.parquet")).expect("read");
    d.write("t.parquet", &sound);
    d.write("t.parquet", parquet("required int64 x", vec![flat(Leaf::Whole(vec![1]))]));
    let told = m.strata(&["diff", "d@v1", "d", "t.parquet"]).fails(1);
    assert!(told.contains("cannot read d@v1/t.parquet as a table: is encrypted Parquet"), "{told}");
    d.write("t.jsonl", "\u{feff}{\"a\":1}\n");
    d.write("t.jsonl", "\u{feff}{\"a\":2}\n");
    let table = &self::told(&m, &["d@prev", "d", "t.jsonl"])["table"];
    assert_eq!((counts(table), column(table, "a")["after"]["max"].as_u64()), ([0, 1, 1], Some(2)));
    for number in ["NaN", "Infinity", "-Infinity"] {
        d.write("t.jsonl", "{}\n");
        d.write("t.jsonl", format!("{{\"a\":1}}\n{{\"a\": [0, {number}], \"b\": 1}}\n"));
        let told = m.strata(&["diff", "d@prev", "d", "t.jsonl"]).fails(1);
        let wanted =
            format!("line 2: has {number}, which JSON has no number for: write null or \"{number}\"");
        assert!(told.contains(&wanted), "{told}");
    }
}

/// A column whose name has a comma or a quote can be a key, and the option can be given more than once.
#[test]
fn keys_may_have_commas() {
    let m = Mount::new();
    let rows = |last: u8| format!("\"a,b\",\"q\"\"\",c,d\n1,1,1,0\n1,2,1,{last}\n2,1,1,0\n");
    two(&m, "t.csv", &rows(1), &rows(2));
    for key in [&["--key", "\"a,b\",\"q\"\"\",c"][..], &["--key", "\"a,b\"", "--key", "q\"", "--key", "c"]] {
        let table = &told(&m, &[&["d@v1", "d", "t.csv"], key].concat())["table"];
        assert_eq!((&table["key"], &table["rows"]["changed"]), (&json!(["a,b", "q\"", "c"]), &json!(1)));
    }
    let told = m.strata(&["diff", "d@v1", "d", "t.csv", "--key", "\"a,b"]).fails(2);
    assert!(told.contains("never closed"), "{told}");
}
