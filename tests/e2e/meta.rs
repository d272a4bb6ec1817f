//! `@meta`: texts about versions.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::*;

const TEXTS: [(&str, &str); 4] = [
    ("croissant", "croissant.json"),
    ("manifest", "manifest.jsonl"),
    ("sha256sums", "sha256sums"),
    ("stats", "stats.json"),
];

fn os(name: &[u8]) -> PathBuf {
    Path::new(std::ffi::OsStr::from_bytes(name)).to_owned()
}

/// A dataset with tables, images and odd names.
fn sample(m: &Mount) -> Dataset<'_> {
    let d = m.dataset("pets");
    let from = m.outside().join("from");
    fs::create_dir_all(from.join("train/deep")).expect("mkdir");
    fs::write(from.join("labels.csv"), "name,count\ncat,3\ndog,\n").expect("write");
    fs::write(from.join("events.jsonl"), "{\"id\":1,\"ok\":true}\n{\"id\":2,\"ok\":false}\n").expect("write");
    fs::write(from.join("bad.csv"), "a,b\n1,2,3\n").expect("write");
    for i in 0..9u64 {
        fs::write(from.join(format!("train/{i}.PNG")), noise(i % 4, 2000)).expect("write");
    }
    fs::write(from.join("train/deep/x.PNG"), "x").expect("write");
    for name in
        [&b"a b"[..], b"line\nbreak", b"back\\slash", b"-", b"cr\r", b"\xff\xfe", b"empty", &[b'n'; 255]]
    {
        fs::write(from.join(os(name)), name).expect("write");
    }
    symlink("labels.csv", from.join("link")).expect("symlink");
    m.strata(&["import", from.to_str().expect("a path"), "pets"]).ok();
    d
}

fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// All texts are there for a live directory, a version, a tag and in directories below, with their right sizes;
/// the commands give the same bytes, with a daemon and without one.
#[test]
fn texts_are_the_same_everywhere() {
    let m = Mount::new();
    let d = sample(&m);
    m.strata(&["tag", "pets", "1.2.3"]).ok();
    assert_eq!(fs::read_link(d.path("@meta")).expect("a link"), Path::new("@v1/@meta"));
    assert_eq!(d.list("@v1/@meta"), ["croissant.json", "manifest.jsonl", "sha256sums", "stats.json"]);
    let mut kept = Vec::new();
    for (about, name) in TEXTS {
        let told = text(&d.path(&format!("@v1/@meta/{name}")));
        for way in ["@meta", "@latest/@meta", "@1.2.3/@meta", "@tag/1.2.3/@meta"] {
            assert_eq!(text(&d.path(&format!("{way}/{name}"))), told, "{way}/{name}");
        }
        let meta = fs::metadata(d.path(&format!("@v1/@meta/{name}"))).expect("stat");
        assert_eq!(
            (meta.size(), meta.mode() & 0o777),
            (fs::read(d.path(&format!("@v1/@meta/{name}"))).expect("read").len() as u64, 0o444),
            "{name}"
        );
        assert_eq!(m.strata(&["meta", "pets@v1", about]).ok(), told);
        kept.push(told);
    }
    let below = text(&d.path("train/@meta/manifest.jsonl"));
    assert_eq!(below, text(&d.path("@v1/train/@meta/manifest.jsonl")));
    assert_eq!(m.strata(&["meta", "pets@v1/train", "manifest"]).ok(), below);
    assert!(below.lines().count() == 11 && below.contains("\"deep/x.PNG\""), "{below}");
    let listed = tool("find", &[d.root(), &d.path("@v1")]);
    assert!(!listed.contains("@meta"), "nothing that goes through a tree comes by: {listed}");

    d.write("later", "x");
    assert_eq!(fs::read_link(d.path("@meta")).expect("a link"), Path::new("@v2/@meta"));
    m.down();
    for ((about, name), told) in TEXTS.iter().zip(&kept) {
        assert_eq!(m.strata(&["meta", "pets@v1", about]).ok(), *told, "{name} without a daemon");
    }
    m.up(&["--dataset", "pets", "--at", "v1"]);
    for ((_, name), told) in TEXTS.iter().zip(&kept) {
        assert_eq!(text(&m.point().join("@meta").join(name)), *told, "{name} in a mount of a version");
    }
    m.down();
}

/// `sha256sum -c` takes the sums, whatever the names.
#[test]
fn sha256sum_checks_the_sums() {
    let m = Mount::new();
    let d = sample(&m);
    let checked = shell("cd \"$1\" && sha256sum --strict -c @meta/sha256sums", &[d.path("@v1")]);
    let sums = fs::read(d.path("@v1/@meta/sha256sums")).expect("read");
    assert_eq!(checked.lines().filter(|line| line.ends_with(": OK")).count(), 21, "{checked}");
    assert_eq!(sums.iter().filter(|b| **b == b'\n').count(), 21);
    let bad = shell(
        "cd \"$1\" && ! sha256sum -c \"$2\" 2>&1",
        &[d.path("@v1/train"), d.path("@v1/@meta/sha256sums")],
    );
    assert!(bad.contains("FAILED"), "{bad}");
}

/// The manifest has a line for all there is, and names what is not UTF-8 by its bytes too.
#[test]
fn the_manifest_tells_what_there_is() {
    let m = Mount::new();
    let d = sample(&m);
    let told = lines(&text(&d.path("@v1/@meta/manifest.jsonl")));
    assert_eq!(told.len(), 24, "21 files, 2 directories, 1 link");
    let of = |path: &str| told.iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("{path}"));
    let labels = of("labels.csv");
    let path = d.path("labels.csv");
    assert_eq!(labels["sha256"], tool("sha256sum", &[&path]).split(' ').next().expect("a sum"));
    assert_eq!(labels["size"], fs::metadata(&path).expect("stat").size());
    assert_eq!((&labels["kind"], labels["mode"].as_str().expect("a mode").len()), (&"file".into(), 4));
    assert!(labels["mtime"].as_str().expect("a time").ends_with('Z') && labels["b3sum"].is_string());
    assert_eq!(of("link")["target"], "labels.csv");
    assert_eq!(of("\u{fffd}\u{fffd}")["path_bytes"], "fffe");
    assert_eq!(of("train")["kind"], "dir");
    let same = |a: &str, b: &str| of(a)["content"] == of(b)["content"];
    assert!(same("train/0.PNG", "train/4.PNG") && !same("train/0.PNG", "train/1.PNG"));
}

/// The figures add up.
#[test]
fn the_figures_add_up() {
    let m = Mount::new();
    let d = sample(&m);
    let stats: Value = serde_json::from_str(&text(&d.path("@meta/stats.json"))).expect("JSON");
    let manifest = lines(&text(&d.path("@meta/manifest.jsonl")));
    let files = || manifest.iter().filter(|line| line["kind"] == "file");
    let bytes: u64 = files().filter_map(|line| line["size"].as_u64()).sum();
    assert_eq!((&stats["files"], &stats["dirs"], &stats["symlinks"]), (&21.into(), &2.into(), &1.into()));
    assert_eq!(stats["bytes"], bytes);
    assert_eq!(stats["unique_bytes"], bytes - 5 * 2000, "five images are there already");
    assert_eq!(stats["extensions"]["png"], serde_json::json!({"files": 10, "bytes": 9 * 2000 + 1}));
    assert_eq!(
        (&stats["largest"][0]["size"], stats["largest"].as_array().map(Vec::len)),
        (&2000.into(), Some(10))
    );
    assert!(stats["oldest_mtime"].as_str() <= stats["newest_mtime"].as_str());
}

/// The description has tables with their columns, many files by a pattern, and what the version was annotated with.
#[test]
fn the_description_has_tables_and_annotations() {
    let m = Mount::new();
    let d = sample(&m);
    let read =
        || -> Value { serde_json::from_str(&text(&d.path("@v1/@meta/croissant.json"))).expect("JSON") };
    let before = read();
    assert_eq!((&before["name"], &before["version"]), (&"pets".into(), &"0.0.1".into()));
    assert!(before.get("license").is_none());
    let sets = before["recordSet"].as_array().expect("record sets");
    let columns = |name: &str| -> Vec<String> {
        let set = sets.iter().find(|set| set["name"] == name).unwrap_or_else(|| panic!("{name}"));
        let field = |f: &Value| {
            format!("{} {}", f["name"].as_str().unwrap_or(""), f["dataType"].as_str().unwrap_or(""))
        };
        set["field"].as_array().expect("fields").iter().map(field).collect()
    };
    assert_eq!(sets.len(), 2, "what is no table has no columns");
    assert_eq!(columns("labels.csv"), ["name sc:Text", "count sc:Integer"]);
    assert_eq!(columns("events.jsonl"), ["id sc:Integer", "ok sc:Boolean"]);
    let files = before["distribution"].as_array().expect("files");
    let images =
        files.iter().find(|file| file["@type"] == "cr:FileSet" && file["encodingFormat"] == "image/png");
    assert_eq!(images.expect("images")["includes"], serde_json::json!(["train/*.PNG", "train/**/*.PNG"]));
    let sets = files.iter().filter(|file| file["@type"] == "cr:FileSet");
    let ids: Vec<_> = sets.map(|set| (set["@id"].as_str(), set["name"].as_str())).collect();
    let named = |id| (Some(id), Some(id));
    assert_eq!(
        ids,
        [named("files-others"), named("train/files-PNG")],
        "those at the top have nothing before it"
    );
    let sums = tool("sha256sum", &[d.path("@v1/@meta/sha256sums")]);
    assert_eq!(files[0]["sha256"], sums.split(' ').next().expect("a sum"));

    m.strata(&["annotate", "pets@v1", "license=MIT", "description=Cats", "version=2.0.0", "cite=A paper"])
        .ok();
    let after = read();
    for (key, value) in
        [("license", "MIT"), ("description", "Cats"), ("version", "2.0.0"), ("citeAs", "A paper")]
    {
        assert_eq!(after[key], value, "{key}");
    }
    assert_eq!(after["distribution"], before["distribution"]);
    m.strata(&["annotate", "pets@v1", "keywords=cats, dogs,, "]).ok();
    assert_eq!(read()["keywords"], serde_json::json!(["cats", "dogs"]));
}

/// Many tables are described by directories, as far as those in one have the same columns; others each, as far as
/// there are not too many, and beyond that by a pattern without columns.
#[test]
fn many_tables_are_described_by_directory() {
    let m = Mount::new();
    let from = m.outside().join("from");
    for (dir, rows) in [("train/a", "1,x"), ("train/b", "1.5,y")] {
        fs::create_dir_all(from.join(dir)).expect("mkdir");
        for i in 0..100 {
            fs::write(from.join(format!("{dir}/{i:02}.csv")), format!("id,name\n{rows}\n")).expect("write");
        }
    }
    fs::create_dir_all(from.join("mixed")).expect("mkdir");
    for i in 0..20 {
        fs::write(from.join(format!("mixed/{i:02}.csv")), format!("id,c{i}\n1,2\n")).expect("write");
    }
    fs::write(from.join("top.csv"), "a\n1\n").expect("write");
    m.strata(&["import", from.to_str().expect("a path"), "d"]).ok();
    let told: Value = serde_json::from_str(&m.strata(&["meta", "d@v1", "croissant"]).ok()).expect("JSON");
    let all = |of: &str| told[of].as_array().expect("a list").clone();
    let sets: Vec<Value> =
        all("distribution").into_iter().filter(|file| file["@type"] == "cr:FileSet").collect();
    assert_eq!(sets.len(), 1, "{sets:?}");
    assert_eq!(sets[0]["includes"], serde_json::json!(["train/*.csv", "train/**/*.csv"]));
    assert_eq!(
        (&sets[0]["description"], &sets[0]["encodingFormat"]),
        (&"200 files".into(), &"text/csv".into())
    );
    let records = all("recordSet");
    let train = records.iter().find(|set| set["name"] == "train/*.csv").expect("the records of train");
    let fields = train["field"].as_array().expect("fields");
    let told = |field: &Value| {
        let source = &field["source"];
        assert_eq!(source["fileSet"]["@id"], sets[0]["@id"]);
        format!("{} {}", source["extract"]["column"], field["dataType"])
    };
    assert_eq!(fields.iter().map(told).collect::<Vec<_>>(), ["\"id\" \"sc:Float\"", "\"name\" \"sc:Text\""]);
    assert_eq!(records.len(), 22, "that of train, and one for each of the others");
}

/// Nothing can be changed in `@meta`; what is not there is ENOENT, and commands say what is wrong.
#[test]
fn texts_are_read_only() {
    let m = Mount::new();
    let d = m.dataset("d");
    refused(fs::read_link(d.path("@meta")), Errno::NOENT);
    assert!(m.strata(&["meta", "d", "stats"]).fails(1).contains("no version yet"));
    d.write("f", "1");
    refused(fs::write(d.path("@v1/@meta/stats.json"), "x"), Errno::ROFS);
    refused(fs::write(d.path("@v1/@meta/new"), "x"), Errno::ROFS);
    refused(fs::remove_file(d.path("@v1/@meta/stats.json")), Errno::ROFS);
    refused(fs::metadata(d.path("@v1/@meta/nothing")), Errno::NOENT);
    refused(fs::create_dir(d.path("@meta")), Errno::EXIST);
    assert!(m.strata(&["meta", "d@v7", "stats"]).fails(1).contains("v7"));
    assert!(m.strata(&["meta", "d@v1/f", "stats"]).fails(1).contains("d@v1/f"));
    assert!(m.strata(&["meta", "d@v1/x", "stats"]).fails(1).contains("d@v1/x"));
    assert!(m.strata(&["meta", "d@v1", "other"]).fails(2).contains("possible values"));
}

/// A text about files that not everybody could read is not for everybody.
#[test]
fn texts_tell_nothing_of_what_was_not_open() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("closed");
    d.write("closed/secret", "1");
    let mode = |path: &str| fs::metadata(d.path(path)).expect("stat").mode() & 0o777;
    tool("chmod", &["-R", "a+rX", d.root().to_str().expect("a path")]);
    m.strata(&["commit", "d"]).ok();
    assert_eq!(mode("@meta/manifest.jsonl"), 0o444);
    tool("chmod", &["0700", d.path("closed").to_str().expect("a path")]);
    m.strata(&["commit", "d"]).ok();
    for (_, name) in TEXTS {
        assert_eq!(mode(&format!("@meta/{name}")), 0o400, "{name}");
    }
}

/// Hashing for a text that takes long holds up nobody else, and ends with the daemon.
#[test]
fn a_text_that_takes_long_holds_up_nobody() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "1");
    // More than can be hashed while this test runs.
    let large = fs::File::create(d.path("large")).expect("create");
    large.set_len(1 << 40).expect("make it large");
    drop(large);
    let sums = d.path("@v2/@meta/sha256sums");
    let spawn = || {
        let mut cat = Command::new("cat");
        cat.arg(&sums).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("cat")
    };
    let mut waiting: Vec<_> = (0..4).map(|_| spawn()).collect();
    for i in 0..20 {
        d.write("f", format!("{i}"));
        fs::File::open(d.path("f")).expect("open").sync_all().expect("fsync");
        assert!(!d.text("@prev/f").is_empty());
    }
    m.strata(&["rollback", "d", "v1"]).ok();
    assert_eq!(d.text("f"), "1");
    assert_eq!(d.list("@meta").len(), 4);
    assert!(text(&d.path("@v1/@meta/stats.json")).contains("\"files\": 1"));
    for child in &mut waiting {
        assert!(child.try_wait().expect("a child").is_none(), "it is still hashing");
    }
    m.signal(Signal::TERM);
    for child in waiting {
        assert!(!child.wait_with_output().expect("a child").status.success(), "it was broken off");
    }
    m.gone();
}

/// Texts that take very long, here of files of 1 TiB, hold up no others: neither such as were made nor new ones.
#[test]
fn texts_that_take_long_hold_up_no_others() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 0..4 {
        d.mkdir(&format!("huge-{n}"));
        let file = fs::File::create(d.path(&format!("huge-{n}/f"))).expect("create");
        file.set_len(1 << 40).expect("truncate");
    }
    d.mkdir("small");
    d.write("small/f", "x");
    let sums = || shell("cd \"$1\" && sha256sum f", &[d.path("small")]);
    assert_eq!(d.text("small/@meta/sha256sums"), sums());
    let mut readers: Vec<_> = (0..4)
        .map(|n| {
            let path = d.path(&format!("huge-{n}/@meta/sha256sums"));
            let mut cat = Command::new("cat");
            cat.arg(path).stdout(Stdio::null()).stderr(Stdio::null());
            cat.spawn().expect("start")
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(d.text("small/@meta/sha256sums"), sums());
    assert!(!d.text("small/@meta/manifest.jsonl").is_empty());
    d.write("small/f", "y");
    assert_eq!(d.text("small/@meta/sha256sums"), sums());
    for reader in &mut readers {
        assert!(reader.try_wait().expect("wait").is_none(), "1 TiB was hashed already");
    }
    m.signal(Signal::TERM);
    for mut reader in readers {
        assert!(!reader.wait().expect("wait").success(), "it was broken off");
    }
    m.gone();
}
