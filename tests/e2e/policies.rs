//! The other policies: settle, manual; commit and batch.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::harness::*;

/// Under settle, a burst of writes to different files is one version.
#[test]
fn settle_makes_one_version_of_a_burst() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("settle=60s");
    for n in 0..20 {
        d.write(&format!("f{n}"), format!("{n}"));
    }
    assert_eq!(d.versions(), 1, "the look seals the burst");
    assert_eq!(d.list("@v1").len(), 20);
    d.write("g", "next burst");
    assert_eq!(d.text("@latest/g"), "next burst", "history never lags the live tree");
    assert_eq!(d.versions(), 2);
}

/// Under settle, a burst is cut by itself once it has been quiet for the given time.
#[test]
fn settle_cuts_when_quiet() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("settle=1s");
    d.write("f", "x");
    d.write("g", "y");
    // The contract is a time, and any look would cut: let it pass, then see when the cut was made.
    thread::sleep(Duration::from_secs(4));
    let looked = SystemTime::now();
    assert_eq!(d.versions(), 1);
    let cut = d.path("@history/v1").symlink_metadata().and_then(|m| m.modified()).expect("mtime");
    assert!(cut + Duration::from_secs(1) < looked, "the look made the cut");
}

/// Under settle, no state that a file had at a close is lost: a second write to it, its unlink, and
/// a rename over it seal the burst first.
#[test]
fn settle_loses_no_closed_state() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("settle=60s");
    d.write("f", "first");
    d.write("f", "second");
    d.write("f", "third");
    assert_eq!(d.versions(), 3);
    d.write("g", "unlinked soon");
    fs::remove_file(d.path("g")).expect("unlink");
    assert_eq!(d.versions(), 5);
    d.write("h", "replaced soon");
    d.write("i", "replacing");
    fs::rename(d.path("i"), d.path("h")).expect("rename");
    let texts = [("@v1/f", "first"), ("@v2/f", "second"), ("@v3/f", "third"), ("@v4/g", "unlinked soon")];
    for (path, text) in texts {
        assert_eq!(d.text(path), text);
    }
    assert_eq!((d.text("@v6/h").as_str(), d.text("@latest/h").as_str()), ("replaced soon", "replacing"));
}

/// Under manual, versions come from `strata commit` alone, however much is written or looked at.
#[test]
fn manual_cuts_only_at_commit() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    for n in 0..5 {
        d.write("f", format!("{n}"));
    }
    assert_eq!(d.versions(), 0);
    m.strata(&["commit", "d", "-m", "five writes"]).ok();
    assert_eq!((d.versions(), d.text("@v1/f").as_str()), (1, "4"));
    d.write("f", "later");
    assert_eq!((d.versions(), d.text("@latest/f").as_str()), (1, "4"));
}

/// What no version holds yet survives a remount, and kill -9 of the daemon.
#[test]
fn pending_changes_survive() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    d.write("committed", "x");
    m.strata(&["commit", "d"]).ok();
    d.write("pending", "y");
    fs::remove_file(d.path("committed")).expect("unlink");
    for kill in [false, true] {
        if kill {
            m.kill()
        } else {
            m.down()
        }
        m.up(&[]);
        assert_eq!(d.list(""), ["pending"]);
        assert_eq!(d.text("pending"), "y");
        assert_eq!(d.versions(), 1, "the policy is kept too");
    }
    m.strata(&["commit", "d"]).ok();
    assert_eq!((d.list("@v1"), d.list("@v2")), (vec!["committed".to_owned()], vec!["pending".to_owned()]));
}

/// Policies are set at any time, kept across remounts, and shown; nonsense is refused.
#[test]
fn policies_are_set_at_any_time() {
    let m = Mount::new();
    let d = m.dataset("d");
    for policy in ["manual", "settle=2s", "every-write"] {
        d.policy(policy);
        m.down();
        m.up(&[]);
        assert_eq!(m.status()["datasets"][0]["policy"], policy);
    }
    for nonsense in ["policy=sometimes", "policy=settle=soon", "colour=red"] {
        let code = m.strata(&["set", "d", nonsense]).code;
        assert!(matches!(code, Some(1 | 2)), "{nonsense}: {code:?}");
    }
    m.strata(&["set", "none", "policy=manual"]).fails(1);
}

/// `strata commit -m` seals what is pending, with a message.
#[test]
fn commit_seals_with_a_message() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("settle=60s");
    d.write("f", "x");
    let said = m.strata(&["commit", "d", "-m", "labels checked"]).ok();
    assert!(said.contains("v1"), "commit says which version it made: {said}");
    let record = d.newest();
    assert_eq!(
        (record["version"].as_str(), record["message"].as_str()),
        (Some("v1"), Some("labels checked"))
    );
    assert!(m.strata(&["log", "d"]).ok().contains("labels checked"));
}

/// All that a command under `strata batch` does is one version.
#[test]
fn batch_is_one_version() {
    let m = Mount::new();
    let d = m.dataset("d");
    let script = "for n in $(seq 30); do echo $n > f$n; echo $n > same; done; rm f1; mkdir dir; mv f2 dir/";
    let mut batch = m.command(&["batch", "--dataset", "d", "-m", "import", "--", "sh", "-euc", script]);
    run(batch.current_dir(d.root())).ok();
    assert_eq!(d.versions(), 1);
    assert_eq!(d.newest()["message"], "import");
    assert_eq!((d.text("@v1/same"), d.list("@v1/dir")), ("30\n".to_owned(), vec!["f2".to_owned()]));
    d.write("f3", "after");
    assert_eq!(d.versions(), 2, "the batch is over");
}

/// A command that fails under `strata batch` still makes one version, and its failure is passed on.
#[test]
fn a_failed_batch_is_kept_unless_told_otherwise() {
    let m = Mount::new();
    let d = m.dataset("d");
    let script = "echo a > a; echo b > b; exit 7";
    let mut batch = m.command(&["batch", "--dataset", "d", "--", "sh", "-c", script]);
    assert_ne!(run(batch.current_dir(d.root())).code, Some(0));
    assert_eq!((d.versions(), d.list("@v1").len()), (1, 2));
}

/// With `--rollback-on-error`, a command that fails leaves the tree as it was, and no version.
#[test]
fn a_failed_batch_leaves_nothing_where_told() {
    let m = Mount::new();
    let d = m.dataset("d");
    sample_tree(&m.outside(), 1, 20);
    shell("cp -a \"$1\"/. \"$2\"/", &[m.outside(), d.root().to_owned()]);
    d.write("f", "before");
    let (versions, wanted) = (d.versions(), facts(d.root()));
    let script = "echo x > f; rm -r part-1; mkdir new; mv part-2 new/; chmod 700 script; exit 1";
    let mut batch =
        m.command(&["batch", "--dataset", "d", "--rollback-on-error", "--", "sh", "-euc", script]);
    assert_ne!(run(batch.current_dir(d.root())).code, Some(0));
    assert_same_facts(&facts(d.root()), &wanted);
    assert_eq!(d.text("f"), "before");
    m.down();
    m.up(&[]);
    assert_same_facts(&facts(m.existing("d").root()), &wanted);
    assert_eq!(m.existing("d").versions(), versions);
}

/// A dataset whose directory a failed command removed and made again is rolled back; one that it only removed is told of.
#[test]
fn a_failed_batch_brings_back_what_it_removed() {
    let m = Mount::new();
    let (d, other) = (m.dataset("d"), m.dataset("other"));
    d.write("f", "before");
    other.write("f", "untouched");
    fs::write(m.outside().join("new"), "new").expect("write");
    for named in [&[][..], &["--dataset", "d"]] {
        let before = d.versions();
        let script = "rm -rf \"$1\"; mkdir \"$1\"; cp \"$2\" \"$1\"; false";
        let mut batch = m.command(&[&["batch", "--rollback-on-error"], named].concat());
        batch.args(["--", "sh", "-c", script, "sh"]).args([d.root(), &m.outside().join("new")]);
        let ran = run(&mut batch);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(&format!("restores v{before}")), "{}", ran.stderr);
        assert!(!ran.stderr.contains("other"), "{}", ran.stderr);
        assert_eq!((d.text("f"), d.list("")), ("before".into(), vec!["f".to_owned()]));
    }
    let before = d.versions();
    let mut batch =
        m.command(&["batch", "--rollback-on-error", "--", "sh", "-c", "rm -rf \"$1\"; false", "sh"]);
    let ran = run(batch.arg(d.root()));
    assert!(ran.stderr.contains(&format!("`strata rollback d v{before}`")), "{}", ran.stderr);
    fs::create_dir(d.root()).expect("mkdir");
    m.strata(&["rollback", "d", &format!("v{before}")]).ok();
    assert_eq!(d.text("f"), "before");
}

/// Directories that were made and removed since the last version are what they were after a remount, and
/// so is the version that is then made of them.
#[test]
fn pending_directories_survive_a_remount() {
    for by_kill in [false, true] {
        let m = Mount::new();
        let d = m.dataset("d");
        for script in ["mkdir -p gone/deep old", "echo 1 > gone/deep/1", "echo 2 > old/2"] {
            shell(&format!("cd \"$1\" && {script}"), &[d.root()]);
        }
        d.policy("manual");
        let script = "cd \"$1\" && mkdir -p new/empty && mv old moved && mkdir moved/sub && rm -r gone";
        shell(script, &[d.root()]);
        let wanted = facts(d.root());
        if by_kill {
            m.kill()
        } else {
            m.down()
        }
        m.up(&[]);
        let d = m.existing("d");
        assert_same_facts(&facts(d.root()), &wanted);
        m.strata(&["commit", "d"]).ok();
        assert_same_facts(&facts(&d.path("@latest")), &wanted);
        let hash = m.strata(&["hash", d.root().to_str().expect("text")]).ok();
        assert_eq!(d.snapshot(), hash[..64]);
        m.strata(&["verify"]).ok();
    }
}
