//! The manual page names a test for each of its claims, and the tests it names exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Sections of `man/strata.7` that make no claim a test could prove.
const NO_CLAIMS: [&str; 3] = ["NAME", "DESCRIPTION", "SEE ALSO"];

/// All tests below a directory, as `module::name` (of `x/main.rs`, `x/mod.rs` and `x/tests.rs`,
/// `x::name`).
fn tests_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("list sources") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let stem = path.file_stem().and_then(|s| s.to_str()).expect("UTF-8");
            let parent = path.parent().and_then(Path::file_name).and_then(|s| s.to_str()).expect("UTF-8");
            let module = if matches!(stem, "main" | "mod" | "tests") { parent } else { stem };
            let text = fs::read_to_string(&path).expect("read a source");
            for part in text.split("#[test]").skip(1) {
                let name = part.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
                found.insert(format!("{module}::{}", name.expect("a test is a function").0));
            }
        }
    }
}

/// The sections of the page with the test names each gives in brackets.
fn sections(page: &str) -> Vec<(String, Vec<String>)> {
    let mut sections = Vec::new();
    for part in page.split("\n.SH ").skip(1) {
        let (title, body) = part.split_once('\n').expect("a section has a body");
        let brackets = body.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
        let names =
            brackets.flat_map(|(inside, _)| inside.split_whitespace().map(|n| n.trim_end_matches(',')));
        let names = names.filter(|n| n.contains("::")).map(str::to_owned).collect();
        sections.push((title.trim_matches('"').to_owned(), names));
    }
    sections
}

/// Every test that `man/strata.7` names exists, and every section with claims names some.
#[test]
fn the_manual_names_real_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    tests_below(&root.join("tests"), &mut tests);
    tests_below(&root.join("src"), &mut tests);
    let page = fs::read_to_string(root.join("man/strata.7")).expect("read man/strata.7");
    let sections = sections(&page);
    assert!(sections.len() >= 8, "{sections:?}");
    for (title, names) in &sections {
        assert!(!names.is_empty() || NO_CLAIMS.contains(&title.as_str()), "{title} names no test");
        for name in names {
            assert!(tests.contains(name), "{title} names {name}, which is no test");
        }
    }
}
