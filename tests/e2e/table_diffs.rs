//! How tables differ between two versions, and lines of texts.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::harness::*;

/// Runs `strata diff --json` with these arguments; gives what it tells of the first path.
pub fn told(m: &Mount, arguments: &[&str]) -> Value {
    let text = m.strata(&[&["diff", "--json"], arguments].concat()).ok();
    let value: Value = serde_json::from_str(&text).expect("JSON");
    value["changes"][0].clone()
}

pub fn column<'a>(table: &'a Value, name: &str) -> &'a Value {
    let columns = table["columns"].as_array().expect("columns");
    columns.iter().find(|column| column["name"] == name).unwrap_or_else(|| panic!("{name} in {table}"))
}

/// Writes a file twice: its versions are v1 and v2.
pub fn two<'a>(m: &'a Mount, name: &str, before: &str, after: &str) -> Dataset<'a> {
    let d = m.dataset("d");
    d.write(name, before);
    d.write(name, after);
    d
}

const BEFORE: &str = "id,label,price,old\n1,cat,1.5,x\n2,dog,2,x\n3,cat,,x\n4,fox,4,x\n";
const AFTER: &str =
    "id,label,price,split\r\n5,fox,4,\r\n3,cat,3.5,\r\n1,cat,1.5,train\r\n2,\"hound\",two,test\r\n";

/// With a key, rows are added, removed or changed; columns come, go and get another type, and what they hold moves.
#[test]
fn rows_of_tables_are_known_by_key() {
    let m = Mount::new();
    two(&m, "t.csv", BEFORE, AFTER);
    for up in [true, false] {
        let table = &told(&m, &["d@v1", "d@v2", "t.csv", "--key", "id", "--rows", "9"])["table"];
        let rows = json!({"before": 4, "after": 4, "added": 1, "removed": 1, "changed": 2, "unchanged": 1});
        assert_eq!((&table["rows"], &table["key"]), (&rows, &json!(["id"])));
        let changes = ["old", "split", "price", "label", "id"].map(|name| &column(table, name)["change"]);
        assert_eq!(
            changes,
            [&json!("removed"), &json!("added"), &json!("retyped"), &Value::Null, &Value::Null]
        );
        let changed = ["price", "label", "id", "old"].map(|name| &column(table, name)["changed"]);
        assert_eq!(changed, [&json!(2), &json!(1), &json!(0), &Value::Null]);
        let price = column(table, "price");
        assert_eq!(price["before"]["type"], "number");
        assert_eq!(price["before"]["mean"], 2.5);
        assert_eq!((&price["before"]["min"], &price["before"]["max"]), (&json!(1.5), &json!(4)));
        assert_eq!((&price["before"]["nulls"], &price["before"]["values"]), (&json!(1), &json!(3)));
        assert_eq!((&price["after"]["type"], &price["after"]["mean"]), (&json!("string"), &Value::Null));
        let top =
            json!([{"value": "cat", "count": 2}, {"value": "dog", "count": 1}, {"value": "fox", "count": 1}]);
        assert_eq!(column(table, "label")["before"]["top"], top);
        let samples = json!({
            "added": [{"row": 1, "count": 1, "values": {"id": "5", "label": "fox", "price": "4", "split": null}}],
            "removed": [{"row": 4, "count": 1, "values": {"id": "4", "label": "fox", "price": "4", "old": "x"}}],
            "changed": [
                {"row_before": 3, "row_after": 2, "key": {"id": "3"},
                 "before": {"price": null}, "after": {"price": "3.5"}},
                {"row_before": 2, "row_after": 4, "key": {"id": "2"},
                 "before": {"label": "dog", "price": "2"}, "after": {"label": "hound", "price": "two"}},
            ],
        });
        assert_eq!(table["samples"], samples);
        let text = m.strata(&["diff", "d@v1", "d@v2", "t.csv", "--key", "id", "--rows", "1"]).ok();
        for line in [
            "  rows       4 -> 4: 1 added, 1 removed, 2 changed, 1 the same (by id)\n",
            "  columns    price number -> string, + split (string), - old (string)\n",
            "  - row 4: id=4 label=fox price=4 old=x\n",
            "  + row 1: id=5 label=fox price=4 split=null\n",
            "  ~ row 3 -> 2 (id=3): price null -> 3.5\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        if up {
            m.down();
        }
    }
}

/// Without a key, rows are compared whole and as often as they are there, whatever their order; only a table that
/// is asked for alone, or all with --tables, is looked into.
#[test]
fn rows_of_tables_are_compared_as_multisets() {
    let m = Mount::new();
    let d = two(&m, "t.tsv", "a\tb\n1\tx\n1\tx\n1\tx\n2\ty\n", "b\ta\ny\t2\nx\t1\nz\t3\n");
    let table = &told(&m, &["d@v1", "d@v2", "t.tsv", "--rows", "5"])["table"];
    let rows = json!({"before": 4, "after": 3, "added": 1, "removed": 2, "changed": 0, "unchanged": 2});
    assert_eq!((&table["rows"], &table["format"], &table["reordered"]), (&rows, &json!("tsv"), &json!(true)));
    assert_eq!(table["samples"]["removed"], json!([{"row": 1, "count": 2, "values": {"a": "1", "b": "x"}}]));

    d.write("t.tsv", "b,a\ty\n");
    d.write("t.tsv", "b,a\ty\n");
    d.write("other", "x");
    assert!(told(&m, &["d@v1", "d"]).get("table").is_none());
    assert!(told(&m, &["d@v1", "d", "--tables"]).get("table").is_none(), "the path is another");
    let text = m.strata(&["diff", "d@v1", "d", "--tables"]).ok();
    assert!(
        text.contains("  columns    + b,a (empty), + y (empty), - a (integer), - b (string)\n"),
        "{text}"
    );
    assert!(told(&m, &["d@v1", "d", "t.tsv", "--bytes"]).get("table").is_none());
    assert!(told(&m, &["d@v1/t.tsv", "d@v2/t.tsv"]).get("table").is_some());
    m.strata(&["diff", "d@v1", "d", "--bytes", "--tables"]).fails(2);
    assert!(told(&m, &["d@v1", "d@v2", "t.tsv", "-p"])["patch"].is_string(), "lines are what is asked for");
    d.write("t.tsv", "");
    let table = &told(&m, &["d@v1", "d", "t.tsv"])["table"];
    assert_eq!((&table["rows"]["after"], &column(table, "a")["change"]), (&json!(0), &json!("removed")));
    fs::rename(d.path("t.tsv"), d.path("renamed.tsv")).expect("rename");
    assert!(told(&m, &["d", "d@prev", "--tables"]).get("table").is_none(), "what is the same is not read");
    m.strata(&["diff", "d@v1", "d", "--rows", "0"]).fails(2);
}

/// A key that the table does not have, or that is there twice, is refused; several columns can be one.
#[test]
fn keys_that_tell_nothing_are_refused() {
    let m = Mount::new();
    two(&m, "t.csv", "a,b,c\n1,1,x\n1,2,y\n", "a,b,c\n1,1,z\n1,2,y\n");
    let none = m.strata(&["diff", "d@v1", "d", "t.csv", "--key", "a,nope"]).fails(1);
    assert!(none.contains("d@v1/t.csv has no column 'nope'"), "{none}");
    let twice = m.strata(&["diff", "d@v1", "d", "t.csv", "--key", "a"]).fails(1);
    assert!(
        twice.contains("d@v1/t.csv: rows 1 and 2 have the same key (a)") && twice.contains("hint"),
        "{twice}"
    );
    assert_eq!(told(&m, &["d@v1", "d", "t.csv", "--key", "a,b"])["table"]["rows"]["changed"], 1);
}

/// Objects of JSON Lines are rows: keys are columns, what is absent is null, the order of keys is nothing.
#[test]
fn json_lines_are_tables() {
    let m = Mount::new();
    let before = "{\"id\": 1, \"x\": {\"a\": 1, \"b\": [1, 2]}}\n{\"id\": 2, \"n\": 1}\n{\"id\": 3}\n";
    let after = "{\"x\": {\"b\": [1, 2], \"a\": 1}, \"id\": 1}\n\n{\"id\": 2, \"n\": \"1\"}\n{\"id\": 3.0, \"n\": null}\n";
    two(&m, "t.jsonl", before, after);
    let table = &told(&m, &["d@v1", "d", "t.jsonl", "--key", "id"])["table"];
    let rows = json!({"before": 3, "after": 3, "added": 0, "removed": 0, "changed": 1, "unchanged": 2});
    assert_eq!(table["rows"], rows);
    let types = |name: &str| {
        let column = column(table, name);
        (column["before"]["type"].as_str().unwrap_or(""), column["after"]["type"].as_str().unwrap_or(""))
    };
    assert_eq!(types("n"), ("integer", "string"));
    assert_eq!(types("x"), ("object", "object"));
    assert_eq!(types("id"), ("integer", "number"));
}

/// Keys that only late rows have are columns like the others, and rows can be known by them; of two tables that
/// are malformed, the one before is named, wherever in it that is.
#[test]
fn late_rows_of_json_lines_have_columns() {
    let m = Mount::new();
    let lines = |last: &str| {
        let rows: String = (0..2000).map(|n| format!("{{\"n\": {n}, \"text\": \"{n}\"}}\n")).collect();
        format!("{rows}{last}")
    };
    let before = lines("{\"n\": 2000, \"old\": true, \"both\": 1}\n{\"both\": 2}\n");
    let after = lines("{\"new\": [], \"n\": 2000, \"both\": 1}\n{\"both\": 3}\n");
    let d = two(&m, "t.jsonl", &before, &after);
    let table = &told(&m, &["d@v1", "d", "t.jsonl", "--rows", "1"])["table"];
    let rows =
        json!({"before": 2002, "after": 2002, "added": 1, "removed": 1, "changed": 0, "unchanged": 2001});
    assert_eq!(table["rows"], rows);
    let change = |name: &str| column(table, name)["change"].clone();
    assert_eq!(
        [change("new"), change("old"), change("both")],
        [json!("added"), json!("removed"), json!(null)]
    );
    assert_eq!(table["samples"]["added"][0]["values"]["both"], 3);
    let twice = m.strata(&["diff", "d@v1", "d", "t.jsonl", "--key", "both"]);
    assert!(twice.stderr.contains("rows 1 and 2 have the same key (both)"), "{}", twice.stderr);
    let nowhere = m.strata(&["diff", "d@v1", "d", "t.jsonl", "--key", "new"]);
    assert!(nowhere.stderr.contains("d@v1/t.jsonl has no column 'new'"), "{}", nowhere.stderr);
    d.write("u.jsonl", lines("{\n"));
    d.write("u.jsonl", format!("[]\n{after}"));
    let ran = m.strata(&["diff", "d@v3", "d", "u.jsonl"]);
    assert!(ran.stderr.contains("u.jsonl as a table: line 2001: is no JSON object"), "{}", ran.stderr);
}

/// What is malformed is an error that names file, version and line, in JSON too; other files are told all the same,
/// and --bytes does without.
#[test]
fn malformed_tables_are_named() {
    let m = Mount::new();
    let d = m.dataset("d");
    let good =
        [("a.csv", "a,b\n1,2\n"), ("j.jsonl", "{}\n"), ("p.parquet", "PAR1nothingPAR1"), ("z.txt", "z\n")];
    m.strata(&["set", "d", "policy=manual"]).ok();
    good.iter().for_each(|(name, text)| d.write(name, text));
    m.strata(&["commit", "d"]).ok();
    for (n, (name, bytes, wanted)) in [
        ("a.csv", &b"a,b\n1,2\n3\n"[..], "a.csv as a table: line 3: 1 field where the header has 2"),
        ("a.csv", b"a,b\n1,2,3\n", "a.csv as a table: line 2: 3 fields where the header has 2"),
        ("a.csv", b"a,b\n1,\"2\n", "a.csv as a table: line 2: a quote is opened and never closed"),
        ("a.csv", b"a,b\n\"1\"2,3\n", "a.csv as a table: line 2: text after a closing quote"),
        ("a.csv", b"a,b\n\xff,3\n", "a.csv as a table: line 2: is not UTF-8"),
        ("j.jsonl", b"{}\n{\"a\":\n", "j.jsonl as a table: line 2: is no JSON object"),
        ("j.jsonl", b"[]\n", "j.jsonl as a table: line 1: is JSON, but no object"),
        ("j.jsonl", b"{}\n\xc3\n", "j.jsonl as a table: line 2: is not UTF-8"),
        ("p.parquet", b"", "p.parquet as a table: is no"),
    ]
    .into_iter()
    .enumerate()
    {
        good.iter().for_each(|(name, text)| d.write(name, text));
        d.write(name, bytes);
        d.write("z.txt", n.to_string());
        m.strata(&["commit", "d"]).ok();
        let version = format!("d@v{}", n + 2);
        let ran = m.strata(&["diff", "d@v1", &version, "--tables", "-p"]);
        assert_eq!(ran.code, Some(1));
        // Of the Parquet file, it is the one before that comes first.
        let side = if name == "p.parquet" { "d@v1" } else { &version };
        assert!(ran.stderr.contains(&format!("cannot read {side}/{wanted}")), "{wanted}: {}", ran.stderr);
        assert!(ran.stderr.contains("--bytes"), "{}", ran.stderr);
        assert!(ran.text().contains("+++ b/z.txt"), "{}", ran.text());
        let ran = m.strata(&["diff", "d@v1", &version, name, "--json"]);
        assert_eq!(ran.code, Some(1));
        let value: Value = serde_json::from_str(&ran.text()).expect("JSON");
        assert!(value["changes"][0]["error"].as_str().expect("an error").contains(name));
        m.strata(&["diff", "d@v1", &version, name, "--bytes"]).ok();
    }
}

/// Parquet that is cut off anywhere, or has flipped bits, is an error and nothing worse.
#[test]
fn damaged_parquet_is_an_error() {
    let m = Mount::new();
    let d = m.dataset("d");
    let sound =
        fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/sample.parquet")).expect("the sample");
    d.write("t.parquet", &sound);
    let mut random = Random::new(7);
    for n in 0..60 {
        let mut bytes = sound.clone();
        if n % 2 == 0 {
            bytes.truncate(random.below(sound.len()));
        } else {
            let at = 4 + random.below(sound.len() - 8);
            bytes[at] ^= 1 << random.below(8);
        }
        d.write("t.parquet", &bytes);
        let ran = m.strata(&["diff", "d@v1", "d", "t.parquet"]);
        // A bit that nobody reads may be flipped, or one of a value.
        assert!(ran.code == Some(1) || (n % 2 == 1 && ran.code == Some(0)), "{:?} {}", ran.code, ran.stderr);
        if ran.code == Some(1) {
            assert!(ran.stderr.contains("/t.parquet as a table: "), "{}", ran.stderr);
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        }
        if n % 2 == 0 {
            assert!(ran.stderr.contains("truncated") || bytes.len() < 4, "{}", ran.stderr);
        }
    }
    m.strata(&["status"]).ok();
}

/// The command takes no more memory for a large table than for a small one; what memory does not hold is in files
/// without a name.
#[test]
fn tables_of_any_size_take_bounded_memory() {
    let m = Mount::new();
    let (rows, large) = (600_000, 40 << 20);
    let text = |order: &mut dyn Iterator<Item = u32>| {
        let mut text = String::from("id,label,text\n");
        for n in order {
            let label = if n % 3 == 0 { "cat" } else { "dog" };
            writeln!(text, "{n},{label},the text of row {n} takes some more room than the hash of it")
                .expect("text");
        }
        text
    };
    let d = m.dataset("d");
    d.write("t.csv", text(&mut (0..rows)));
    d.write("t.csv", text(&mut (1..=rows).rev()));
    assert!(fs::metadata(d.path("t.csv")).expect("stat").len() > large);
    let scratch = tempfile::tempdir().expect("a directory");
    // Neither of the tables fits into this address space beside the program.
    let mut command = m.command(&["diff", "d@v1", "d@v2", "t.csv", "--key", "id", "--json"]);
    command.env("TMPDIR", scratch.path());
    let line: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_str().expect("text").to_owned())
        .collect();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -v 65536; exec \"$@\"", "sh"]).args(&line).env("TMPDIR", scratch.path());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            limited.env(name, value);
        }
    }
    let told: Value = serde_json::from_str(&run(&mut limited).ok()).expect("JSON");
    let table = &told["changes"][0]["table"];
    assert_eq!((&table["rows"]["added"], &table["rows"]["removed"]), (&json!(1), &json!(1)));
    assert_eq!(table["rows"]["unchanged"], rows - 1);
    let id = &column(table, "id")["after"];
    assert_eq!(id["distinct_is_estimate"], true);
    let distinct = id["distinct"].as_f64().expect("a number");
    assert!((distinct / f64::from(rows) - 1.0).abs() < 0.04, "{distinct}");
    assert_eq!(id["mean"], f64::from(rows + 1) / 2.0);
    assert_eq!(fs::read_dir(scratch.path()).expect("list").count(), 0);
    let nowhere =
        m.command(&["diff", "d@v1", "d@v2", "t.csv"]).env("TMPDIR", "/nonexistent").output().expect("run");
    let why = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(
        nowhere.status.code() == Some(1) && why.contains("/nonexistent") && why.contains("TMPDIR"),
        "{why}"
    );
}

/// Lines of small texts are told as `diff -u` does: `patch` turns the one version into the other.
#[test]
fn patches_apply() {
    let m = Mount::new();
    let d = m.dataset("d");
    m.strata(&["set", "d", "policy=manual"]).ok();
    shell(
        "cd \"$1\"; mkdir sub; seq 50 > sub/numbers; printf 'no end' > end; echo gone > gone; seq 9 > 'a b'; \
         printf 'x\\0y' > binary; seq 300000 > large",
        &[d.root()],
    );
    m.strata(&["commit", "d"]).ok();
    shell(
        "cd \"$1\"; sed -i 's/^7$/seven/; 40d' sub/numbers; printf 'no end\\n' > end; rm gone; echo new > new; \
         sed -i s/5/five/ 'a b'; printf 'x\\0z' > binary; echo >> large; : > sub/empty",
        &[d.root()],
    );
    m.strata(&["commit", "d"]).ok();
    let text = m.strata(&["diff", "-p", "d@v1", "d@v2"]).ok();
    assert!(text.contains("M file     binary\n  no text: no lines to show\n"), "{text}");
    assert!(text.contains("\n  larger than 1 MiB: no lines to show\n"), "{text}");
    assert!(text.contains("@@ -4,7 +4,7 @@\n 4\n 5\n 6\n-7\n+seven\n 8\n"), "{text}");
    let other = tempfile::tempdir().expect("a directory");
    fs::write(other.path().join("patch"), &text).expect("write");
    shell(
        "cp -r \"$1\"/@v1/. \"$2\"; cd \"$2\"; patch -s -p1 < patch; rm patch",
        &[d.root().as_os_str(), other.path().as_os_str()],
    );
    for file in ["sub/numbers", "end", "new", "a b"] {
        assert_eq!(fs::read_to_string(other.path().join(file)).expect("read"), d.text(file), "{file}");
    }
    assert!(!other.path().join("gone").exists());
    let numbers = told(&m, &["d@v1", "d", "sub/numbers", "-p"]);
    assert!(
        numbers["patch"].as_str().expect("a patch").starts_with("--- a/sub/numbers\n+++ b/sub/numbers\n@@")
    );
    assert_eq!(told(&m, &["d@v1", "d", "binary", "-p"])["no_patch"], "no text");
}

/// Reading a version in two goes cuts no versions of what is written meanwhile.
#[test]
fn looking_at_tables_cuts_no_versions_of_later_writes() {
    let m = Mount::new();
    let d = two(&m, "t.csv", "a\n1\n", "a\n2\n");
    d.policy("settle=1h");
    d.write("t.csv", "a\n3\n");
    told(&m, &["d@v1", "d@v2", "t.csv"]);
    let brief = m.strata(&["log", "d"]).ok();
    assert_eq!(brief.lines().count(), 3, "the diff itself, and the log, seal: {brief}");
}

/// Lines end at LF alone, and names that are not plain text are quoted: `patch` turns such files into the others too.
#[test]
fn patches_of_odd_lines_and_names_apply() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    let names: [&[u8]; 6] =
        [b"tab\there", b"not \xff UTF-8", b"q\"uote\\", "\u{85}\u{e4}".as_bytes(), b"plain", b"the end "];
    let write = |texts: &[(&[u8], &[u8])]| {
        texts.iter().for_each(|(name, text)| {
            fs::write(d.root().join(OsStr::from_bytes(name)), text).expect("write");
        });
        m.strata(&["commit", "d"]).ok();
    };
    let before: Vec<(&[u8], &[u8])> = names.iter().map(|name| (*name, &b"1\n"[..])).collect();
    let after: Vec<(&[u8], &[u8])> = names.iter().map(|name| (*name, &b"2\n"[..])).collect();
    write(&[&before[..], &[(b"cr", b"a\rb\nc\n"), (b"crlf", b"1\r\n2\r\n"), (b"end", b"x\n\r")]].concat());
    let new = (&b"new\t\xff"[..], &b"new\n"[..]);
    write(
        &[&after[..], &[new, (b"cr", b"a\rb\nd\n"), (b"crlf", b"1\r\n3\n"), (b"end", b"x\n\r\n")]].concat(),
    );
    let text = m.strata(&["diff", "-p", "d@v1", "d@v2"]);
    let shown = text.text();
    for hunk in [
        "--- a/cr\n+++ b/cr\n@@ -1,2 +1,2 @@\n a\rb\n-c\n+d\n",
        "--- a/end\n+++ b/end\n@@ -1,2 +1,2 @@\n x\n-\r\n\\ No newline at end of file\n+\r\n",
        "--- \"a/tab\\there\"\n+++ \"b/tab\\there\"\n@@ -1 +1 @@\n-1\n+2\n",
        "--- \"a/not \\377 UTF-8\"\n",
        "--- \"a/q\\\"uote\\\\\"\n",
        "--- \"a/the end \"\n",
        "--- /dev/null\n+++ \"b/new\\t\\377\"\n",
    ] {
        assert!(shown.contains(hunk), "{hunk:?} in {shown:?}");
    }
    let other = tempfile::tempdir().expect("a directory");
    fs::write(other.path().join("patch"), &text.stdout).expect("write");
    shell(
        "cp -r \"$1\"/@v1/. \"$2\"; cd \"$2\"; patch -s -p1 --binary < patch; rm patch",
        &[d.root().as_os_str(), other.path().as_os_str()],
    );
    assert_eq!(tool("diff", &[OsStr::new("-r"), d.root().as_os_str(), other.path().as_os_str()]), "");
    // Of a file by itself, before and after.
    let one = OsStr::from_bytes(b"d@v1/tab\there");
    let mut command = m.command(&["diff", "-p"]);
    let alone = run(command.args([one, OsStr::from_bytes(b"d@v2/plain")])).ok();
    assert!(alone.contains("--- \"a/tab\\there\"\n+++ b/plain\n"), "{alone}");
}

/// The heads of hunks tell how many lines follow, also where lines that are there more than once were added.
#[test]
fn patches_of_repeated_lines_apply() {
    let m = Mount::new();
    let d = m.dataset("d");
    let lines = |letters: &str| letters.chars().map(|letter| format!("{letter}\n")).collect::<String>();
    d.write("letters", lines("ufubeuebb+-@"));
    d.write("letters", lines("uNNfc+u-exNxxu@@@"));
    let text = m.strata(&["diff", "-p", "d@v1", "d@v2"]).ok();
    assert!(text.contains("\n@@ -1,12 +1,17 @@\n"), "{text}");
    let other = tempfile::tempdir().expect("a directory");
    fs::write(other.path().join("patch"), &text).expect("write");
    shell(
        "cp \"$1\"/@v1/letters \"$2\"; cd \"$2\"; patch -s -p1 < patch",
        &[d.root().as_os_str(), other.path().as_os_str()],
    );
    assert_eq!(fs::read_to_string(other.path().join("letters")).expect("read"), d.text("letters"));
}

/// In a column of text, NaN is a value like any other.
#[test]
fn nan_in_a_column_of_text_is_text() {
    let m = Mount::new();
    two(&m, "t.csv", "a,b\nx,1\nNaN,nan\nNaN,2\n", "a,b\nx,1\nNaN,nan\n");
    let table = &told(&m, &["d@v1", "d@v2", "t.csv"])["table"];
    let facts = |name: &str, side: &str| {
        let told = &column(table, name)[side];
        json!([told["type"], told["values"], told["nans"], told["distinct"]])
    };
    assert_eq!(facts("a", "before"), json!(["string", 3, 0, 2]));
    assert_eq!(column(table, "a")["before"]["top"][0], json!({"value": "NaN", "count": 2}));
    assert_eq!(facts("a", "after"), json!(["string", 2, 0, 2]));
    assert_eq!(facts("b", "before"), json!(["number", 3, 1, 2]));
}
