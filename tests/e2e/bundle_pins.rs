//! Pins go with a bundle; settings of the store that it is from do not, which is said.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::bundle::text;
use crate::harness::*;

fn bundle(m: &Mount, arguments: &[&str], name: &str) -> (PathBuf, Value) {
    let file = m.outside().join(name);
    let told = m.strata(&[&["bundle", "--json", "--force", "-o", text(&file)], arguments].concat()).ok();
    (file, serde_json::from_str(&told).expect("JSON"))
}

/// The pins of all versions that are kept: when and by whom each was set, and what was said of it.
fn pins(m: &Mount, dataset: &str) -> Vec<(String, Value)> {
    let log = m.strata(&["log", dataset, "--json"]).ok();
    let versions = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let pinned = versions.filter(|version| version.get("pin").is_some());
    pinned.map(|v| (v["version"].as_str().expect("a version").to_owned(), v["pin"].clone())).collect()
}

fn pin(m: &Mount, version: &str, message: &str) {
    m.strata(&["pin", version, "-m", message]).ok();
}

/// Pins of versions in a bundle come along, with who set them, when and why; those that were taken away, and
/// those of later versions, do not. They keep their versions in the new store.
#[test]
fn pins_go_with_a_bundle() {
    let m = Mount::new();
    let d = m.dataset("d");
    (1..=6).for_each(|n| d.write("f", format!("{n}")));
    ["v1", "v2", "v3", "v6"].iter().for_each(|v| pin(&m, &format!("d@{v}"), &format!("run of {v}")));
    m.strata(&["unpin", "d@v1"]).ok();
    m.strata(&["pointer", "d@v4", "-o", text(&m.outside().join("d.strata"))]).ok();
    let all = pins(&m, "d");
    assert_eq!(all.iter().map(|(v, _)| v.as_str()).collect::<Vec<_>>(), ["v6", "v4", "v3", "v2"]);
    let (part, told) = bundle(&m, &["d@v5"], "part.bundle");
    assert_eq!(told["pins"], 3, "{told}");
    let other = Mount::new();
    other.dataset("takes the number");
    other.strata(&["import", text(&part), "e"]).ok();
    let check = |when: &str| assert_eq!(pins(&other, "e"), all[1..], "{when}");
    other.lasts(check);
    other.strata(&["prune", "e", "--keep-last", "1"]).ok();
    let e = other.existing("e");
    assert_eq!(["@v1", "@v2", "@v3", "@v4", "@v5"].map(|v| e.has(v)), [false, true, true, true, true]);
    assert_eq!(e.text("@v2/f"), "2");
    other.strata(&["verify"]).ok();
}

/// An update brings the pins that the dataset never had: none that was taken away there comes back, none that
/// is there is another afterwards, and what was pruned there is not pinned.
#[test]
fn an_update_brings_new_pins_alone() {
    let m = Mount::new();
    let d = m.dataset("d");
    (1..=5).for_each(|n| d.write("f", format!("{n}")));
    pin(&m, "d@v2", "first");
    pin(&m, "d@v3", "second");
    let (part, _) = bundle(&m, &["d@v4"], "part.bundle");
    let other = Mount::new();
    other.strata(&["import", text(&part), "d"]).ok();
    other.strata(&["unpin", "d@v2"]).ok();
    other.strata(&["prune", "d", "--keep-last", "1"]).ok();
    let e = other.existing("d");
    assert_eq!(["@v1", "@v2", "@v3"].map(|v| e.has(v)), [false, false, true]);
    pin(&other, "d@v4", "set here");
    // Of v1, which was pruned there; of v4, which is pinned there; of v5, which is new; and v3 is pinned no
    // longer.
    ["v1", "v4", "v5"].iter().for_each(|v| pin(&m, &format!("d@{v}"), "later"));
    m.strata(&["unpin", "d@v3"]).ok();
    let told = |pins: Vec<(String, Value)>| -> Vec<(String, String)> {
        pins.into_iter().map(|(v, pin)| (v, pin["message"].as_str().expect("a message").to_owned())).collect()
    };
    let of = |v: &str, message: &str| (v.to_owned(), message.to_owned());
    for (since, when) in [(&["--since", "v4", "d"][..], "an increment"), (&["d"], "all of it")] {
        let (update, _) = bundle(&m, since, "update.bundle");
        other.strata(&["import", text(&update), "d"]).ok();
        let expected = [of("v5", "later"), of("v4", "set here"), of("v3", "second")];
        assert_eq!(told(pins(&other, "d")), expected, "{when}");
    }
    assert!(!e.has("@v1") && !e.has("@v2"));
    // Without a new version too.
    m.strata(&["unpin", "d@v5"]).ok();
    other.strata(&["unpin", "d@v5"]).ok();
    pin(&m, "d@v5", "anew");
    let (update, _) = bundle(&m, &["d"], "update.bundle");
    let ran = other.strata(&["import", text(&update), "d"]);
    assert!(ran.stderr.contains("there already"), "{}", ran.stderr);
    assert_eq!(told(pins(&other, "d"))[0], of("v5", "anew"));
    other.strata(&["verify"]).ok();
}

/// Retention and quota are settings of a store and stay there, which is said, with what they are.
#[test]
fn settings_of_the_store_stay_there_and_that_is_said() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "1");
    let (_, told) = bundle(&m, &["d"], "d.bundle");
    assert_eq!((&told["left_out"], &told["pins"]), (&json!([]), &json!(0)));
    m.strata(&["set", "d", "retention=keep-last=9,every=1h"]).ok();
    m.strata(&["set", "d", "quota=1G"]).ok();
    let (file, told) = bundle(&m, &["d"], "d.bundle");
    assert_eq!(told["left_out"], json!(["retention=keep-last=9,every=1h", "quota=1073741824"]));
    for output in [text(&file), "-"] {
        let ran = m.strata(&["bundle", "--force", "d", "-o", output]);
        assert!(
            ran.stderr.contains("not in it: retention=keep-last=9,every=1h quota=1073741824;"),
            "{ran:?}"
        );
    }
    let other = Mount::new();
    other.strata(&["import", text(&file), "e"]).ok();
    let all: Value = serde_json::from_str(&other.strata(&["datasets", "--json"]).ok()).expect("JSON");
    assert_eq!((&all[0]["quota_bytes"], &all[0]["retention"]), (&Value::Null, &Value::Null));
    for setting in told["left_out"].as_array().expect("settings") {
        other.strata(&["set", "e", setting.as_str().expect("a text")]).ok();
    }
}
