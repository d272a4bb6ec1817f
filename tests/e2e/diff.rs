//! How two versions differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::*;
use crate::mirror::{apply, op};

fn diff(m: &Mount, arguments: &[&str]) -> Value {
    let text = m.strata(&[&["diff", "--json"], arguments].concat()).ok();
    serde_json::from_str(&text).expect("JSON")
}

/// Lines of the text but for the last, and the last.
fn lines(m: &Mount, arguments: &[&str]) -> (Vec<String>, String) {
    let text = m.strata(&[&["diff"], arguments].concat()).ok();
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    let last = lines.pop().expect("a last line");
    (lines, last)
}

/// A dataset whose versions v1 and v2 differ in every way.
fn sample(m: &Mount) -> Dataset<'_> {
    let d = m.dataset("d");
    m.strata(&["set", "d", "policy=manual"]).ok();
    shell(
        "cd \"$1\"; mkdir -p old/deep kept; echo same > kept/same; echo one > kept/edited; echo x > kept/mode; \
         echo away > kept/away; seq 100 > kept/copied; echo in > old/deep/in; ln -s a kept/link; \
         echo tmp > kept/saved",
        &[d.root()],
    );
    m.strata(&["commit", "d"]).ok();
    shell(
        "cd \"$1\"; echo three > kept/edited; chmod 755 kept/mode; rm kept/away; mv old new; \
         cat kept/copied > kept/copy; rm kept/copied; echo other > new/deep/in; ln -sf b kept/link; \
         echo more > kept/more; echo saved > kept/.tmp; mv kept/.tmp kept/saved",
        &[d.root()],
    );
    m.strata(&["commit", "d"]).ok();
    d
}

/// What was added, removed, edited, renamed (a directory, or a file known by its content) and changed in
/// attributes alone is told, from either side.
#[test]
fn diff_tells_what_differs() {
    let m = Mount::new();
    let d = sample(&m);
    let (told, last) = lines(&m, &["d@v1", "d@v2"]);
    let wanted = [
        "D file     kept/away  5 bytes",
        "R file     kept/copied -> kept/copy",
        "M file     kept/edited  4 -> 6 bytes",
        "M symlink  kept/link",
        "a file     kept/mode  mode 644 -> 755",
        "A file     kept/more  5 bytes",
        "M file     kept/saved  4 -> 6 bytes",
        "R dir      old -> new",
        "M file     new/deep/in  3 -> 6 bytes",
    ];
    assert_eq!(BTreeSet::from_iter(told.iter().map(String::as_str)), BTreeSet::from(wanted));
    assert!(
        last.starts_with("9 paths differ: 1 added, 1 removed, 4 modified, 2 renamed, 1 in attributes"),
        "{last}"
    );

    let back = diff(&m, &["d@v2", "d@v1"]);
    assert_eq!(back["stat"]["added"], 1);
    assert_eq!(back["stat"]["removed"], 1);
    let renames: BTreeSet<_> = back["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .filter(|change| change["change"] == "renamed")
        .map(|change| (change["from"].as_str().expect("from"), change["path"].as_str().expect("path")))
        .collect();
    assert_eq!(renames, BTreeSet::from([("kept/copy", "kept/copied"), ("new", "old")]));
    let mode = back["changes"].as_array().expect("changes").iter().find(|c| c["path"] == "kept/mode");
    assert_eq!(mode.map(|c| (&c["mode_before"], &c["mode_after"])), Some((&json!("0755"), &json!("0644"))));

    assert_eq!(lines(&m, &["d@v2", "d"]), (vec![], "no path differs".into()));
    assert_eq!(diff(&m, &["d@v1", "d@v1"])["changes"], json!([]));
    let stat = diff(&m, &["--stat", "d@v1", "d@v2"]);
    assert_eq!((stat.get("changes"), &stat["stat"]["modified"]), (None, &json!(4)));
    drop(d);
}

/// A path narrows it down; one that neither version has is an error, as is what is no version.
#[test]
fn diff_of_a_path() {
    let m = Mount::new();
    sample(&m);
    assert_eq!(diff(&m, &["d@v1", "d@v2", "kept/edited"])["stat"]["modified"], 1);
    for path in ["new/", "old"] {
        let told = lines(&m, &["d@v1", "d@v2", path]).0;
        assert_eq!(told[0], "R dir      old -> new", "from either end: {told:?}");
    }
    assert_eq!(lines(&m, &["d@v1", "d@v2", "new/"]).0.len(), 2);
    assert_eq!(lines(&m, &["d@v1/kept", "d@v2/kept"]), lines(&m, &["d@v1", "d@v2", "kept"]));
    assert!(m.strata(&["diff", "d@v1", "d@v2", "nowhere"]).fails(1).contains("nowhere"));
    assert!(m.strata(&["diff", "d@v1", "d@v9"]).fails(1).contains("v9"));
    assert!(m.strata(&["diff", "d@v1", "other"]).fails(1).contains("other"));
    m.strata(&["diff", "d@v1"]).fails(2);
}

/// Versions of two datasets, and two directories of one, are compared by names, kinds, content and executable
/// files; times and owners are not.
#[test]
fn diff_of_trees_of_different_origin() {
    let m = Mount::new();
    let d = sample(&m);
    let e = m.dataset("e");
    shell("cp -r \"$1/@v1/.\" \"$2\"; chmod 640 \"$2/kept/same\"", &[d.root(), e.root()]);
    assert_eq!(lines(&m, &["d@v1", "e"]), (vec![], "no path differs".into()));
    let told = lines(&m, &["e", "d@v2"]).0;
    for line in [
        "D file     kept/away  5 bytes",
        "R file     kept/copied -> kept/copy",
        "M file     kept/edited  4 -> 6 bytes",
        "A dir      new",
        "D file     old/deep/in  3 bytes",
        "A file     new/deep/in  6 bytes",
    ] {
        assert!(told.iter().any(|told| told == line), "{line} in {told:#?}");
    }
    assert!(told.iter().any(|line| line.starts_with("a file     kept/mode")), "{told:#?}");
    let apart = lines(&m, &["d@v1/old", "d@v2/new"]).0;
    assert_eq!(apart, ["M file     deep/in  3 -> 6 bytes"]);
    assert_eq!(lines(&m, &["d@v1/kept/edited", "d@v2/kept/saved"]).0.len(), 1);
    let missing = m.strata(&["diff", "e", "d@v2", "old"]).fails(1);
    assert!(missing.contains("old in v2 of d does not exist"), "{missing}");
}

/// Names that are no text are told as they are, and in JSON by their bytes as well.
#[test]
fn diff_of_odd_names() {
    let m = Mount::new();
    let d = m.dataset("d");
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"a\xff\nb"));
    std::fs::write(d.root().join(odd), "x").expect("write");
    std::fs::rename(d.root().join(odd), d.root().join("plain")).expect("rename");
    let change = &diff(&m, &["d@v1", "d@v2"])["changes"][0];
    assert_eq!((&change["change"], &change["path"]), (&json!("renamed"), &json!("plain")));
    assert_eq!(change["from_bytes"], "61ff0a62");
}

/// After a rollback, what had happened in between is what differs.
#[test]
fn diff_across_a_rollback() {
    let m = Mount::new();
    let d = sample(&m);
    m.strata(&["rollback", "d", "v1"]).ok();
    assert_eq!(diff(&m, &["d@v1", "d@v3"])["changes"], json!([]));
    assert_eq!(diff(&m, &["d@v2", "d@v3"]), diff(&m, &["d@v2", "d@v1"]));
    d.write("kept/same", "not the same");
    m.strata(&["commit", "d"]).ok();
    assert_eq!(diff(&m, &["d@v1", "d@v4"])["stat"]["modified"], 1);
}

/// What stands for a path after the changes that are told were made.
fn moved(path: &Path, renames: &BTreeMap<PathBuf, PathBuf>) -> PathBuf {
    let above = path.ancestors().find(|above| renames.contains_key(*above));
    match above {
        Some(above) if above == path => renames[above].clone(),
        Some(above) => renames[above].join(path.strip_prefix(above).expect("a prefix")),
        None => path.to_owned(),
    }
}

/// Any two versions of random histories, of one change each or of many: what is told turns the one tree into the
/// other, and nothing else is told.
#[test]
fn diff_turns_one_version_into_the_other() {
    for seed in 1..=8 {
        let m = Mount::new();
        let d = m.dataset("d");
        let of_many = seed > 4;
        if of_many {
            m.strata(&["set", "d", "policy=manual"]).ok();
        }
        d.write("first", "x");
        let mut random = Random::new(seed);
        let mut kept = Vec::new();
        for round in 0..12 {
            for _ in 0..25 {
                drop(apply(d.root(), &op(&mut random)));
            }
            if of_many {
                m.strata(&["commit", "d"]).ok();
            }
            if round == 6 {
                m.strata(&["rollback", "d", &format!("v{}", kept[3])]).ok();
            }
            kept.push(d.versions());
        }
        let tree = |version| facts(&d.path(&format!("@v{version}")));
        for _ in 0..20 {
            let (a, b) = (kept[random.below(kept.len())], kept[random.below(kept.len())]);
            let what = format!("seed {seed}: v{a} and v{b}");
            let told = diff(&m, &[&format!("d@v{a}"), &format!("d@v{b}")]);
            check(&tree(a), &tree(b), told["changes"].as_array().expect("changes"), &what);
        }
        m.strata(&["verify"]).ok();
    }
}

/// A directory that goes with what is in it, in one version: neither what was in it nor what a directory of its
/// name has later is told wrong.
#[test]
fn diff_of_directories_that_went_as_a_whole() {
    let m = Mount::new();
    let d = m.dataset("d");
    m.strata(&["set", "d", "policy=manual"]).ok();
    for script in [
        "mkdir c c/d",
        "echo x > c/f; echo y > c/d/g",
        "rm -r c",
        "mkdir c; echo x > c/f; mkdir c/d",
        "rm -r c; mkdir c; echo longer > c/f; ln -s f c/d",
    ] {
        shell(&format!("cd \"$1\"; {script}"), &[d.root()]);
        m.strata(&["commit", "d"]).ok();
    }
    let told = |from: &str, to: &str| BTreeSet::from_iter(lines(&m, &[from, to]).0);
    let set = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
    let (gone, come) = (["D dir      c", "D dir      c/d"], ["A dir      c", "A dir      c/d"]);
    assert_eq!(told("d@v1", "d@v3"), set(&gone));
    assert_eq!(told("d@v3", "d@v1"), set(&come));
    let files = ["D file     c/d/g  2 bytes", "D file     c/f  2 bytes"];
    assert_eq!(told("d@v2", "d@v3"), set(&[gone, files].concat()));
    assert_eq!(told("d@v2", "d@v4"), set(&[files[0], "a file     c/f  time"]), "the same, but for its time");
    assert_eq!(told("d@v1", "d@v4"), set(&["A file     c/f  2 bytes"]));
    assert_eq!(
        told("d@v4", "d@v5"),
        set(&["M file     c/f  2 -> 7 bytes", "M symlink  c/d  0 -> 1 bytes  mode 755 -> 777  was dir"])
    );
    assert_eq!(d.list("@diff/v1..v3/removed"), ["c"]);
}

fn check(a: &BTreeMap<PathBuf, Facts>, b: &BTreeMap<PathBuf, Facts>, told: &[Value], what: &str) {
    let path = |change: &Value, key: &str| PathBuf::from(change[key].as_str().expect("a path"));
    let of = |kind: &'static str| told.iter().filter(move |change| change["change"] == kind);
    let renames: BTreeMap<_, _> = of("renamed").map(|c| (path(c, "from"), path(c, "path"))).collect();
    let removed: BTreeSet<_> = of("removed").map(|c| path(c, "path")).collect();
    let mut made: BTreeMap<PathBuf, Facts> = BTreeMap::new();
    for (old, facts) in a.iter().filter(|(old, _)| !removed.contains(*old)) {
        assert!(
            made.insert(moved(old, &renames), facts.clone()).is_none(),
            "{what}: {} twice",
            old.display()
        );
    }
    for change in of("added") {
        let path = path(change, "path");
        let facts = b.get(&path).unwrap_or_else(|| panic!("{what}: {} added", path.display()));
        assert!(made.insert(path, facts.clone()).is_none(), "{what}: {change} was there: {told:#?}");
    }
    assert_eq!(made.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{what}: {told:#?}");
    let shown = |facts: &Facts| (facts.mode, facts.owner, facts.content.clone());
    let told_of: BTreeMap<_, _> = told.iter().map(|c| (path(c, "path"), c["change"].as_str())).collect();
    for (path, before) in &made {
        let after = &b[path];
        let content = before.content == after.content && before.mode >> 12 == after.mode >> 12;
        match told_of.get(path).copied().flatten() {
            Some("modified") => assert!(!content, "{what}: {} is the same", path.display()),
            Some("attributes") => assert!(content, "{what}: {} is not the same", path.display()),
            Some(_) => {}
            None => assert_eq!(shown(before), shown(after), "{what}: {}", path.display()),
        }
    }
}

/// A file that was changed before it went with its directory, which is recorded as one removal, is a file removed;
/// also where a directory of that name came again.
#[test]
fn a_file_changed_and_gone_with_its_directory_is_removed() {
    let m = Mount::new();
    let source = |name: &str, files: &[(&str, &str)]| -> PathBuf {
        let root = m.outside().join(name);
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
            std::fs::write(path, text).expect("write");
        }
        root
    };
    let import = |root: &Path| m.strata(&["import", "--delete", root.to_str().expect("UTF-8"), "d"]).ok();
    import(&source("one", &[("dir/deep/f", "1"), ("dir/g", "1"), ("kept", "1")]));
    let d = m.existing("d");
    d.write("dir/deep/f", "2");
    import(&source("two", &[("kept", "1")]));
    let gone = m.strata(&["log", "--json", "d"]).ok().lines().count();
    import(&source("three", &[("dir/g", "3"), ("kept", "1")]));
    let changes = |pair: [&str; 2]| -> BTreeSet<(String, String)> {
        let found = diff(&m, &[&format!("d@{}", pair[0]), &format!("d@{}", pair[1])]);
        let changes = found["changes"].as_array().expect("changes").iter();
        let changes = changes.filter(|change| change["change"] != "attributes");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        changes.map(|change| (text(&change["path"]), text(&change["change"]))).collect()
    };
    let set = |all: &[(&str, &str)]| -> BTreeSet<(String, String)> {
        all.iter().map(|(path, change)| ((*path).into(), (*change).into())).collect()
    };
    let last = format!("v{gone}");
    let removed =
        set(&[("dir", "removed"), ("dir/deep", "removed"), ("dir/deep/f", "removed"), ("dir/g", "removed")]);
    assert_eq!(changes(["v1", &last]), removed);
    assert!(d.path(&format!("@diff/v1..{last}/removed/dir/deep/f")).exists());
    let came: BTreeSet<_> = removed.iter().map(|(path, _)| (path.clone(), "added".to_owned())).collect();
    assert_eq!(changes([&last, "v1"]), came);
    let again = changes(["v1", "latest"]);
    assert!(again.contains(&("dir/deep/f".into(), "removed".into())), "{again:?}");
    assert!(!again.contains(&("dir/deep/f".into(), "modified".into())), "{again:?}");
}

/// What a renamed directory took along is told of a path in it, from either side, with whatever changed below.
#[test]
fn what_a_renamed_directory_took_along_is_told() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    for script in [
        "mkdir -p x/sub; echo o > x/o; echo p > x/p; echo s > x/sub/s; echo r > x/r",
        "mv x y; echo longer > y/p; echo more > y/sub/s; rm y/r; echo other > y/r",
    ] {
        shell(&format!("cd \"$1\"; {script}"), &[d.root()]);
        m.strata(&["commit", "d"]).ok();
    }
    let sub: &[&str] = &["R dir      x/sub -> y/sub", "M file     y/sub/s  2 -> 5 bytes"];
    for (name, wanted) in [
        ("o", &["R file     x/o -> y/o"][..]),
        ("p", &["R file     x/p -> y/p  2 -> 7 bytes"]),
        ("r", &["R file     x/r -> y/r  2 -> 6 bytes"]),
        ("sub", sub),
        ("sub/s", &["R file     x/sub/s -> y/sub/s  2 -> 5 bytes"]),
    ] {
        for dir in ["x", "y"] {
            assert_eq!(lines(&m, &["d@v1", "d@v2", &format!("{dir}/{name}")]).0, wanted, "{dir}/{name}");
        }
    }
    assert_eq!(lines(&m, &["d@v2", "d@v1", "x/o"]).0, ["R file     y/o -> x/o"]);
    assert_eq!(lines(&m, &["d@v1", "d@v2", "y"]).0.len(), 4, "the directory itself and what changed in it");
    let told: Value = serde_json::from_str(&d.text("y/sub/@diff/v1..v2/summary.json")).expect("JSON");
    let ends = |at: usize| (told["changes"][at]["from"].clone(), told["changes"][at]["path"].clone());
    assert_eq!(ends(0), (json!("x/sub"), json!("y/sub")), "{told}");
    assert_eq!(told["stat"]["renamed"], 1);
    let told: Value = serde_json::from_str(&d.text("y/@diff/v1..v2/summary.json")).expect("JSON");
    assert_eq!((&told["changes"][0]["from"], &told["stat"]["renamed"]), (&json!("x"), &json!(1)), "{told}");
}

/// A file that another one is renamed over, as editors and `os.replace` save, is modified, by the rows too, though a
/// version has the other under its own name; what was put aside first, or changed names, is renamed.
#[test]
fn a_file_that_is_saved_by_a_rename_is_modified() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("t.csv", "id,l\n1,a\n2,b\n");
    m.strata(&["tag", "d", "1.0.0"]).ok();
    d.write("t.csv.tmp", "id,l\n1,a\n2,c\n");
    fs::rename(d.path("t.csv.tmp"), d.path("t.csv")).expect("rename");
    let newest = d.log().len();
    let (before, after) = (format!("d@v{}", newest - 1), format!("d@v{newest}"));
    let (told, _) = lines(&m, &[&before, &after]);
    assert_eq!(told, ["M file     t.csv", "D file     t.csv.tmp  13 bytes"]);
    let rows = m.strata(&["diff", "--key", "id", &before, &after, "t.csv"]).ok();
    assert!(rows.contains("1 changed"), "{rows}");
    let tree = |part: &str| d.list(&format!("@diff/v{}..v{newest}/{part}", newest - 1));
    assert_eq!(
        (tree("added"), tree("modified"), tree("removed")),
        (vec![], vec!["t.csv".into()], vec!["t.csv.tmp".into()])
    );
    let told = m.strata(&["bump", "--suggest", "d"]).ok();
    assert!(told.contains("is a patch step from"), "{told}");
    let patched = m.outside().join("patched");
    let patch = m.strata(&["diff", "-p", &before, &after]).ok();
    let from = d.path(&format!("@v{}", newest - 1));
    shell(
        "cp -r \"$1\" \"$2\"; chmod -R u+w \"$2\"; cd \"$2\"; printf %s \"$3\" | patch -sp1",
        &[from.to_str().expect("UTF-8"), patched.to_str().expect("UTF-8"), &patch],
    );
    assert_eq!(fs::read_dir(&patched).expect("list").count(), 1);
    assert_eq!(fs::read_to_string(patched.join("t.csv")).expect("read"), d.text("t.csv"));
    // With a backup.
    shell("cd \"$1\"; echo new >n", &[d.root()]);
    m.strata(&[
        "batch",
        "--",
        "sh",
        "-c",
        &format!("cd {}; mv t.csv t.csv~; mv n t.csv", d.root().display()),
    ])
    .ok();
    let told = m.strata(&["show", "d"]).ok();
    assert!(told.contains("t.csv -> t.csv~") && told.contains("n -> t.csv"), "{told}");
}

/// An archive of as many small files, in directories of a thousand.
fn many_files(m: &Mount, name: &str, count: usize, above: &str) -> PathBuf {
    let path = m.outside().join(name);
    let program = format!(
        "import io, tarfile\n\
         with tarfile.open({path:?}, 'w') as tar:\n  \
           for n in range({count}):\n    \
             member = tarfile.TarInfo('{above}/part-%03d/picture-%07d.jpg' % (n // 1000, n))\n    \
             text = b'%d' % n\n    \
             member.size = len(text)\n    \
             tar.addfile(member, io.BytesIO(text))\n"
    );
    python(&program, &[] as &[&str]);
    path
}

/// The most memory that a command takes, in bytes; it must succeed.
fn peak(m: &Mount, arguments: &[&str]) -> u64 {
    let command = m.command(arguments);
    let program = "import resource, subprocess, sys\n\
                   subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n\
                   print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)\n";
    let mut measured = std::process::Command::new("python3");
    measured.args(["-c", program]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            measured.env(name, value);
        }
    }
    run(&mut measured).ok().trim().parse().expect("a number")
}

/// Some hundred bytes of memory are enough for each path that differs; all are told, in order.
#[test]
fn many_differences_take_little_memory_each() {
    let m = Mount::unmounted();
    m.strata(&["init"]).ok();
    let counts: [usize; 2] = [5_000, 45_000];
    let import = |archive: PathBuf, name: &str| {
        m.strata(&["import", "--delete", archive.to_str().expect("text"), name]).ok();
    };
    let grown = [("few", counts[0]), ("many", counts[1])].map(|(name, count)| {
        import(many_files(&m, "one.tar", 1, "first"), name);
        import(many_files(&m, "all.tar", count, "second"), name);
        let versions = [format!("{name}@v1"), format!("{name}@v2")];
        let beside = peak(&m, &["diff", &versions[0], &versions[0]]);
        peak(&m, &["diff", &versions[0], &versions[1]]).saturating_sub(beside)
    });
    let each = grown[1].saturating_sub(grown[0]) / (counts[1] - counts[0]) as u64;
    assert!(each < 700, "{each} bytes for each path");

    import(many_files(&m, "renamed.tar", counts[0], "third"), "few");
    let told = diff(&m, &["few@v2", "few@v3"]);
    assert_eq!(told["stat"]["renamed"], counts[0]);
    let changes = told["changes"].as_array().expect("changes");
    let paths: Vec<&str> = changes.iter().filter_map(|change| change["path"].as_str()).collect();
    assert!(paths.len() >= counts[0] && paths.is_sorted_by(|a, b| a.split('/').lt(b.split('/'))));
}
