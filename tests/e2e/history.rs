//! `@history` and `@file`: which versions there are, of a directory and of a file.

use std::fs;
use std::path::Path;

use rustix::io::Errno;
use serde_json::Value;

use crate::harness::*;

fn numbered(names: &[String]) -> Vec<String> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|n| n.strip_prefix('v')?.parse().ok()).collect();
    numbers.sort();
    numbers.iter().map(|n| format!("v{n}")).collect()
}

/// `@history` holds a symlink for each version, dated with the version's time, leading to its tree.
#[test]
fn history_links_every_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 1..=12 {
        d.write("f", format!("{n}"));
    }
    let names = d.list("@history");
    assert_eq!(numbered(&names), (1..=12).map(|n| format!("v{n}")).collect::<Vec<_>>());
    assert_eq!(names.len(), 13, "the versions and log.jsonl: {names:?}");
    let mut last = std::time::UNIX_EPOCH;
    for n in 1..=12 {
        let link = d.path(&format!("@history/v{n}"));
        assert_eq!(fs::read_link(&link).expect("readlink"), Path::new(&format!("../@v{n}")));
        assert_eq!(d.text(&format!("@history/v{n}/f")), format!("{n}"));
        let time = link.symlink_metadata().and_then(|m| m.modified()).expect("mtime");
        assert!(time >= last, "times do not go back");
        last = time;
    }
    refused(d.path("@history/v13").symlink_metadata(), Errno::NOENT);
    let listed = tool("ls", &["-l".as_ref(), d.path("@history").as_os_str()]);
    assert!(listed.contains("v12 -> ../@v12"), "{listed}");
}

/// `@history/log.jsonl` holds one record a line, oldest first, the same as `strata log --json`.
#[test]
fn the_log_file_is_the_log() {
    let m = Mount::new();
    let d = m.dataset("d");
    for n in 1..=5 {
        d.write("f", format!("{n}"));
    }
    m.strata(&["commit", "d", "-m", "with \"quotes\" and\na new line"]);
    let text = d.text("@history/log.jsonl");
    let size = d.path("@history/log.jsonl").metadata().expect("stat").len();
    assert_eq!(text.len() as u64, size, "stat tells the size that is read");
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let log: Vec<Value> = d.log().into_iter().rev().collect();
    assert_eq!(lines, log);
    for (n, record) in lines.iter().enumerate() {
        assert_eq!(record["version"], format!("v{}", n + 1));
        for name in ["id", "snapshot", "time", "command"] {
            assert!(record[name].is_string(), "{name} in {record}");
        }
        for name in ["uid", "gid", "pid", "changes"] {
            assert!(record[name].is_u64(), "{name} in {record}");
        }
        assert!(record.get("message").is_some() && record.get("restores").is_some(), "{record}");
    }
    d.write("f", "6");
    assert_eq!(d.text("@history/log.jsonl").lines().count(), lines.len() + 1, "it grows with the history");
}

/// In a sub-directory, `@history` holds only the versions that changed something below it.
#[test]
fn a_directory_has_its_own_history() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("a");
    d.mkdir("b");
    d.write("a/f", "1");
    d.write("b/f", "1");
    d.mkdir("a/deep");
    d.write("a/deep/g", "1");
    d.write("b/f", "2");
    assert_eq!(numbered(&d.list("a/@history")), ["v1", "v3", "v5", "v6"]);
    assert_eq!(numbered(&d.list("a/deep/@history")), ["v5", "v6"]);
    assert_eq!(numbered(&d.list("b/@history")), ["v2", "v4", "v7"]);
    assert_eq!(d.text("b/@history/v4/f"), "1");
    let lines = d.text("b/@history/log.jsonl");
    let versions: Vec<_> =
        lines.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON")["version"].clone()).collect();
    assert_eq!(versions, ["v2", "v4", "v7"]);
}

/// `@file/<path>/` holds only the versions in which that file changed, each with the file's bytes.
#[test]
fn a_file_has_its_own_history() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    for n in 1..=3 {
        d.write("dir/f", format!("state {n}"));
        d.write("dir/other", format!("{n}"));
    }
    assert_eq!(numbered(&d.list("@file/dir/f")), ["v2", "v4", "v6"]);
    for (n, version) in [(1, "v2"), (2, "v4"), (3, "v6")] {
        assert_eq!(d.text(&format!("@file/dir/f/{version}")), format!("state {n}"));
        assert_eq!(d.text(&format!("dir/@file/f/{version}")), format!("state {n}"));
    }
    refused(fs::read(d.path("@file/dir/f/v3")), Errno::NOENT);
    fs::remove_file(d.path("dir/f")).expect("unlink");
    assert_eq!(d.text("@file/dir/f/v4"), "state 2", "a file that is gone has its history still");
    refused(fs::read_dir(d.path("@file/dir/none")).map(drop), Errno::NOENT);
}

/// Each version that `@file` and `@history` list of a path is found by its name, and no other is: of what was
/// written, removed, a directory for a while, and renamed; before and after versions are pruned, rolled back and
/// made.
#[test]
fn versions_of_a_path_are_found_as_they_are_listed() {
    let m = Mount::new();
    let d = m.dataset("d");
    let script = "cd \"$1\"; mkdir dir; for n in 1 2 3 4; do echo $n > dir/f; echo $n > other; done; rm dir/f; \
                  mkdir dir/f; echo in > dir/f/in; rm -r dir/f; echo 5 > dir/f; echo 6 > dir/new; mv dir/new dir/f; \
                  chmod 600 dir/f; echo 7 > other";
    shell(script, &[d.root()]);
    let check = |when: &str| {
        let newest = d.versions();
        for dir in ["@file/dir/f", "dir/@file/f", "@file/other", "dir/@history", "@history"] {
            let mut found: Vec<_> = (1..=newest + 1).map(|n| format!("v{n}")).collect();
            found.retain(|version| d.path(&format!("{dir}/{version}")).exists());
            assert_eq!(found, numbered(&d.list(dir)), "{dir} {when}");
        }
    };
    check("at first");
    m.strata(&["rollback", "d", "v6"]).ok();
    check("after a rollback");
    d.write("dir/f", "8");
    check("written anew");
    for keep in ["v2", "v4", "v7", "v12", "v15"] {
        m.strata(&["pin", &format!("d@{keep}")]).ok();
    }
    m.strata(&["prune", "d", "--keep-last", "2"]).ok();
    check("pruned");
    d.write("dir/f", "9");
    check("written after that");
}

/// What the kernel was told of the history of a directory holds only as long as it is so.
#[test]
fn a_history_changes_with_a_rename_and_a_prune() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("x");
    (1..=6).for_each(|n| d.write("x/f", format!("{n}")));
    shell("ls -l \"$1\"; cat \"$1\"/v3/f", &[&d.path("x/@history")]);
    m.strata(&["prune", "d", "--keep-last", "2"]).ok();
    let there = |dir: &str| {
        let found = (1..=9).filter(|n| d.path(&format!("{dir}/@history/v{n}")).symlink_metadata().is_ok());
        found.map(|n| format!("v{n}")).collect::<Vec<_>>()
    };
    assert_eq!(there("x"), numbered(&d.list("x/@history")));
    fs::rename(d.path("x"), d.path("y")).expect("rename");
    assert_eq!(there("y"), numbered(&d.list("y/@history")));
    assert_eq!(there("y"), ["v8"]);
}

/// What was done in a version that was pruned shows at the next one that is kept, of a file and of a directory;
/// what was undone by then does not, and what only pruned versions had is not there.
#[test]
fn changes_of_pruned_versions_show_at_the_next_kept() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    d.write("dir/f", "one");
    d.write("other", "1");
    d.write("dir/f", "two");
    d.write("dir/gone", "");
    fs::remove_file(d.path("dir/gone")).expect("unlink");
    d.write("other", "2");
    m.strata(&["pin", "d@v3"]).ok();
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert_eq!(numbered(&d.list("@history")), ["v3", "v7"]);
    assert_eq!(numbered(&d.list("@file/dir/f")), ["v3", "v7"]);
    assert_eq!(d.text("@file/dir/f/v3") + &d.text("@file/dir/f/v7"), "onetwo");
    assert_eq!(numbered(&d.list("dir/@history")), ["v3", "v7"]);
    assert_eq!(d.text("dir/@history/v3/f"), "one");
    assert_eq!(numbered(&d.list("@file/other")), ["v3", "v7"]);
    refused(fs::read_dir(d.path("@file/dir/gone")).map(drop), Errno::NOENT);
    d.write("other", "3");
    d.write("dir/f", "three");
    d.write("dir/f", "two");
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert_eq!(numbered(&d.list("@file/dir/f")), ["v3", "v10"]);
    d.write("dir/f", "four");
    m.strata(&["rollback", "d", "v10"]).ok();
    m.strata(&["pin", "d@v10"]).ok();
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    assert_eq!(numbered(&d.list("@file/dir/f")), ["v3", "v10"], "written, and gone back on");
}

/// `strata log` lists the newest first, as many as asked, of a path only the versions that changed it.
#[test]
fn log_lists_newest_first() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("dir");
    for n in 1..=3 {
        d.write("dir/f", format!("{n}"));
        d.write("g", format!("{n}"));
    }
    let versions = |arguments: &[&str]| {
        let lines = m.strata(&[&["log", "--json"], arguments].concat()).ok();
        let version = |l: &str| {
            serde_json::from_str::<Value>(l).expect("JSON")["version"].as_str().expect("version").to_owned()
        };
        lines.lines().map(version).collect::<Vec<_>>()
    };
    assert_eq!(versions(&["d"]), ["v7", "v6", "v5", "v4", "v3", "v2", "v1"]);
    assert_eq!(versions(&["d", "-n", "2"]), ["v7", "v6"]);
    assert_eq!(versions(&["d", "dir/f"]), ["v6", "v4", "v2"]);
    assert_eq!(versions(&["d", "dir", "-n", "3"]), ["v6", "v4", "v2"]);
    let text = m.strata(&["log", "d"]).ok();
    assert!(text.find("v7") < text.find("v1") && text.contains("v7"), "{text}");
}

/// `strata show` tells what changed in a version.
#[test]
fn show_tells_what_changed() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("kept", "x");
    d.write("edited", "x");
    d.write("removed", "x");
    run(m
        .command(&[
            "batch",
            "--dataset",
            "d",
            "--",
            "sh",
            "-c",
            "echo y > edited; rm removed; echo z > added",
        ])
        .current_dir(d.root()))
    .ok();
    let text = m.strata(&["show", "d@v4"]).ok();
    for name in ["edited", "removed", "added"] {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert!(!text.contains("kept"), "{text}");
    let json = m.strata(&["show", "d@v4", "--json"]).ok();
    let parsed: Vec<Value> =
        serde_json::Deserializer::from_str(&json).into_iter().collect::<Result<_, _>>().expect("JSON");
    assert!(!parsed.is_empty() && json.contains("\"v4\"") && json.contains("edited"), "{json}");
}

/// Of a version that changed very many paths, a thousand are shown, and all where that is asked for: what
/// came, what was replaced and what went, as each way of showing has it.
#[test]
fn show_of_very_many_changes_is_bounded() {
    let m = Mount::new();
    let d = m.dataset("d");
    m.strata(&["set", "d", "policy=manual"]).ok();
    shell("cd \"$1\"; mkdir a b; touch kept; seq 1500 | sed s,^,a/f, | xargs touch", &[d.root()]);
    m.strata(&["commit", "d"]).ok();
    shell(
        "cd \"$1\"; seq 700 | sed s,^,a/f, | xargs rm; mv a/f701 moved; mv a/f903 kept; \
         for n in $(seq 702 900); do echo $n > a/f$n; done; chmod 600 a/f901; mv a/f902 b/f902; \
         seq 300 | sed s,^,b/n, | xargs touch",
        &[d.root()],
    );
    m.strata(&["commit", "d"]).ok();

    let lines = |text: &str| text.lines().skip_while(|line| !line.is_empty()).skip(1).count() - 1;
    let text = m.strata(&["show", "d@v1"]).ok();
    assert_eq!(lines(&text), 1000);
    assert!(text.ends_with("more than 1000 paths changed; --all shows all\n"), "{text}");
    let text = m.strata(&["show", "--all", "d@v1"]).ok();
    assert_eq!(lines(&text), 1503);
    assert!(text.ends_with("1503 paths changed\n"), "{text}");

    let text = m.strata(&["show", "--all", "d@v2"]).ok();
    for line in [
        "D file     a/f1\n",
        "R file     a/f701 -> moved\n",
        "D file     a/f903\n",
        "M file     a/f900  0 -> 4 bytes\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    for line in
        ["a file     a/f901  mode 644 -> 600\n", "R file     a/f902 -> b/f902\n", "A file     b/n300\n"]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
    let json: Value = serde_json::from_str(&m.strata(&["show", "d@v2", "--json"]).ok()).expect("JSON");
    assert_eq!(json["changes"].as_array().map(Vec::len), Some(lines(&text)));
    let bounded = m.strata(&["show", "d@v2"]).ok();
    assert!(bounded.lines().skip(8).take(900).all(|line| text.contains(line)), "{bounded}");
}

/// A path's history is that of the path, whatever directories had its name: renaming and making anew are
/// part of it, and what happened elsewhere to a directory that now has the name is not.
#[test]
fn history_follows_the_path_through_renames() {
    let m = Mount::new();
    let d = m.dataset("d");
    let script = "cd \"$1\"; mkdir a; echo A1 > a/f; echo A2 > a/f; mkdir b; echo B1 > b/f; echo B2 > b/f; \
                  mv a old; mv b a; rm -r old; mkdir old; echo C > old/f";
    shell(script, &[d.root()]);
    let log = |path: &str| -> Vec<String> {
        let text = m.strata(&["log", "--no-follow", "d", path, "--json"]).ok();
        let version =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["version"].clone();
        text.lines().rev().map(|line| version(line).as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(log("a/f"), ["v2", "v3", "v7", "v8"]);
    assert_eq!(log("a"), ["v1", "v2", "v3", "v7", "v8"]);
    assert_eq!(log("old/f"), ["v7", "v9", "v12"]);
    for (version, text) in [("v2", "A1\n"), ("v3", "A2\n"), ("v8", "B2\n")] {
        assert_eq!(d.text(&format!("@file/a/f/{version}")), text);
    }
    assert_eq!(d.list("@file/a/f").len(), 3, "those in which it is there");
    let listed = |dir: &str| {
        let mut names = d.list(&format!("{dir}/@history"));
        names.retain(|name| name != "log.jsonl");
        names.sort_by_key(|name| name[1..].parse::<u64>().expect("a number"));
        names
    };
    assert_eq!(listed("a"), log("a"));
    assert_eq!(listed("old"), log("old"));
}

/// A directory above that is renamed to and fro does not end a file's history, nor have any version told twice:
/// each is there once, newest first, with the path that the file had then.
#[test]
fn history_is_followed_through_a_directory_that_is_renamed_to_and_fro() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.mkdir("a");
    d.write("a/f", "0");
    d.write("a/other", "0");
    let mut expected = vec!["v2 a/f".to_owned()];
    for round in 1..=40 {
        let [from, to] = if round % 2 == 0 { ["b", "a"] } else { ["a", "b"] };
        std::fs::rename(d.path(from), d.path(to)).expect("rename");
        expected.push(format!("v{} {to}/f", 3 * round + 1));
        d.write(&format!("{to}/f"), format!("{round}"));
        expected.push(format!("v{} {to}/f", 3 * round + 2));
        d.write(&format!("{to}/other"), format!("{round}"));
    }
    expected.reverse();
    let log = |more: &[&str]| -> Vec<String> {
        let text = m.strata(&[&["log", "d", "a/f", "--json"], more].concat()).ok();
        let told = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            format!(
                "{} {}",
                record["version"].as_str().expect("text"),
                record["path"].as_str().unwrap_or("a/f")
            )
        };
        text.lines().map(told).collect()
    };
    assert_eq!(log(&[]), expected);
    assert_eq!(log(&["-n", "3"]), expected[..3]);
    // By the name alone, it comes and goes.
    let alone: Vec<u64> = (1..=40)
        .flat_map(|r| if r % 2 == 0 { vec![3 * r + 1, 3 * r + 2] } else { vec![3 * r + 1] })
        .collect();
    let alone = [2].into_iter().chain(alone).rev().map(|version| format!("v{version} a/f"));
    assert_eq!(log(&["--no-follow"]), alone.collect::<Vec<_>>());
}

/// Paths of any bytes have a history.
#[test]
fn a_path_that_is_not_utf8_has_its_history() {
    let m = Mount::new();
    let d = m.dataset("d");
    shell(
        "cd \"$1\"; f=$(printf '\\377'); echo 1 > \"$f\"; echo 2 > \"$f\"; test \"$(cat \"@file/$f/v1\")\" = 1",
        &[d.root()],
    );
}
