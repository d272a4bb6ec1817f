//! `strata import`: a directory becomes one version of a dataset.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::*;

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

/// A tree with all there is: many files, several chunks, links, a pipe, holes, odd names and attributes.
fn all_sorts(root: &Path) {
    sample_tree(root, 5, 300);
    fs::write(root.join("large"), noise(9, 3 << 20)).expect("write");
    fs::write(root.join("part-1/zeros"), vec![0; 1 << 20]).expect("write");
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).expect("mkfifo");
    for name in [&b"not \xff utf-8"[..], b"new\nline", "n".repeat(255).as_bytes(), b"-rf", b"@v", b"@v01"] {
        fs::write(root.join(OsStr::from_bytes(name)), name).expect("write");
    }
    fs::write(root.join("marked"), "x").expect("write");
    setxattr(root.join("marked"), "user.label", b"cat", XattrFlags::empty()).expect("setxattr");
    setxattr(root.join("marked"), "user.long", &noise(1, 2000), XattrFlags::empty()).expect("setxattr");
    fs::set_permissions(root.join("empty dir"), fs::Permissions::from_mode(0o2750)).expect("chmod");
    age(root);
    // After that, which reads all there is.
    File::create(root.join("holes")).and_then(|f| f.write_all_at(b"end", 1 << 40)).expect("write");
}

/// What of `all_sorts` can be compared byte by byte: all but a file of 1 TiB.
fn assert_taken_in(source: &Path, root: &Path) {
    let holes = |root: &Path| fs::symlink_metadata(root.join("holes")).expect("stat").len();
    assert_eq!(holes(source), holes(root));
    let mut end = [0; 3];
    File::open(root.join("holes")).and_then(|f| f.read_exact_at(&mut end, 1 << 40)).expect("read");
    assert_eq!(&end, b"end");
    let trees = [source, root].map(|root| {
        tool("sh", &["-c", "cd \"$0\" && tar --sort=name --exclude ./holes -c . | b3sum", text(root)])
    });
    assert_eq!(trees[0], trees[1], "names, modes, owners, times, links and contents");
    let value = tool("getfattr", &["-d", "-m", "user", "--absolute-names", text(&root.join("marked"))]);
    assert!(value.contains("user.label=\"cat\"") && value.contains("user.long="), "{value}");
}

/// A whole tree is taken in as one version, mounted or not, and is as `cp -a` would have made it; the kernel
/// sees the dataset though it was told before that there is none. Doing it again makes no version.
#[test]
fn an_import_is_one_version_of_the_tree() {
    let m = Mount::new();
    let source = m.outside().join("source");
    fs::create_dir(&source).expect("mkdir");
    all_sorts(&source);
    assert!(fs::read_dir(m.point()).expect("list").next().is_none());
    assert!(!m.point().join("d").exists());
    let said = m.strata(&["import", text(&source), "d", "-m", "as it came"]).ok();
    assert_eq!(said, "d: v1\n");
    let d = m.existing("d");
    assert_taken_in(&source, d.root());
    assert_taken_in(&source, &d.path("@v1"));
    assert_eq!(d.versions(), 1);
    assert_eq!(d.newest()["message"], "as it came");
    let listed: Vec<_> =
        fs::read_dir(m.point()).expect("list").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(listed, ["d"]);
    let ran = m.strata(&["import", text(&source), "d"]);
    assert!(ran.stderr.contains("nothing changed since v1"), "{}", ran.stderr);
    ran.ok();
    m.strata(&["import", "--checksum", "--delete", text(&source), "d"]).ok();
    assert_eq!(d.versions(), 1);
    m.down();
    assert_eq!(m.strata(&["import", text(&source), "unmounted"]).ok(), "unmounted: v1\n");
    m.up(&[]);
    let [snapshot, other] = ["d", "unmounted"].map(|name| m.existing(name).snapshot());
    assert_eq!(snapshot, other);
    assert_taken_in(&source, m.existing("unmounted").root());
    m.strata(&["verify"]).ok();
}

/// A directory, archive, bundle and repository may be at a path that is no text, beside a daemon too.
#[test]
fn sources_may_have_any_path() {
    let m = Mount::new();
    let named = |name: &[u8]| m.outside().join(OsStr::from_bytes(name));
    let [dir, tar, bundle] = [&b"\xff"[..], b"\xff.tar", b"\xff.bundle"].map(named);
    let part = OsStr::from_bytes(b"part \xfe");
    fs::create_dir_all(dir.join(part)).expect("make directories");
    fs::write(dir.join(part).join("file"), "text").expect("write");
    let import = |to: &str, source: &Path, options: &[&OsStr]| {
        run(m.command(&["import"]).args(options).arg(source).arg(to)).ok();
        m.existing(to).snapshot()
    };
    let snapshot = import("of-dir", &dir, &[]);
    run(m.command(&["export", "of-dir"]).arg(&tar)).ok();
    run(m.command(&["bundle", "of-dir", "-o"]).arg(&bundle)).ok();
    let commit = "cd \"$1\"; git init -q .; git add -A; git -c user.name=A -c user.email=a@b commit -qm one";
    shell(commit, &[&dir]);
    let history = OsStr::new("--history");
    let again =
        [import("of-tar", &tar, &[]), import("of-bundle", &bundle, &[]), import("of-git", &dir, &[history])];
    assert_eq!(again, [(); 3].map(|()| snapshot.clone()));
    import("of-part", &dir, &[history, OsStr::new("--path"), part]);
    assert_eq!(m.existing("of-part").text("file"), "text");
}

/// The next import takes over what changed and nothing else: it does not read what has the same size and time
/// of change, unless told to; with --delete the version is as the directory is.
#[test]
fn the_next_import_takes_over_what_changed() {
    let m = Mount::new();
    let d = m.dataset("d");
    let source = m.outside().join("source");
    sample_tree(&source, 5, 50);
    d.write("of its own", "stays");
    fs::write(source.join("large"), noise(5, 1 << 20)).expect("write");
    // What changed just now may have changed again within a tick of the clock.
    thread::sleep(Duration::from_millis(50));
    m.strata(&["import", text(&source), "d"]).ok();
    assert_eq!((d.versions(), d.text("of its own")), (2, "stays".into()));

    let file = source.join("part-1/1/00001.bin");
    let time = file.metadata().expect("stat").modified().expect("mtime");
    let before = fs::read(&file).expect("read");
    let opened = inotify::init(CreateFlags::NONBLOCK).expect("inotify");
    inotify::add_watch(&opened, source.join("large"), WatchFlags::OPEN).expect("watch");
    let opened = || rustix::io::read(&opened, &mut [0; 512]).is_ok();
    let secretly = noise(99, before.len());
    fs::write(&file, &secretly).expect("write");
    File::options().append(true).open(&file).and_then(|f| f.set_modified(time)).expect("set the time");
    fs::write(source.join("script"), "#!/bin/true\n").expect("write");
    fs::remove_file(source.join("part-2/2/00002.bin")).expect("unlink");
    m.strata(&["import", text(&source), "d"]).ok();
    assert!(!opened(), "what is the same is not read again");
    assert!(d.bytes("part-1/1/00001.bin") == secretly, "though its size and time of change are the same");
    assert_eq!(d.text("part-0/script too"), "#!/bin/true\n", "other names too");
    assert!(d.has("part-2/2/00002.bin"));
    let changes = m.strata(&["show", "d@v3"]).ok();
    let changed: Vec<_> = changes.lines().filter(|l| l.starts_with(['M', 'A', 'D'])).collect();
    assert_eq!(changed.len(), 3, "one, and the two names of another: {changes}");

    m.strata(&["import", "--checksum", "--delete", text(&source), "d"]).ok();
    assert!(opened(), "but where that is asked for");
    assert!(d.bytes("part-1/1/00001.bin") == secretly);
    assert!(!d.has("part-2/2/00002.bin") && !d.has("of its own"));
    assert_same_tree(&source, d.root());
    assert_eq!(d.text("@v3/of its own"), "stays");
    assert_eq!(d.versions(), 4);
}

/// A link that is none any more is none in the dataset either, though nothing else of its files changed.
#[test]
fn links_that_went_go() {
    let m = Mount::new();
    let source = m.outside().join("source");
    fs::create_dir(&source).expect("mkdir");
    shell("cd \"$1\" && echo one > a && ln a b && ln a c && echo two > x && ln x y", &[&source]);
    m.strata(&["import", text(&source), "d"]).ok();
    shell("cd \"$1\" && rm b && cp -p a b", &[&source]);
    assert_eq!(m.strata(&["import", text(&source), "d"]).ok(), "d: v2\n");
    let d = m.existing("d");
    assert_same_tree(&source, d.root());
    let links = ["a", "b", "c", "x", "y"].map(|name| d.path(name).metadata().expect("stat").nlink());
    assert_eq!(links, [2, 1, 2, 2, 2]);
    m.strata(&["import", "--checksum", text(&source), "d"]).ok();
    assert_eq!(d.versions(), 2, "nothing changed");
    shell("cd \"$1\" && rm c && ln b c", &[&source]);
    m.strata(&["import", text(&source), "d"]).ok();
    assert_same_tree(&source, d.root());
}

/// Files of one size and one time of change, as all of an export are, that trade places are taken over as they are now.
#[test]
fn files_that_trade_places_are_taken_over() {
    let m = Mount::new();
    let d = m.dataset("labels");
    d.write("1", "cat");
    d.write("2", "dog");
    let source = m.outside().join("source");
    m.strata(&["export", "--no-sums", "labels", text(&source)]).ok();
    m.strata(&["import", "--delete", text(&source), "d"]).ok();
    shell("cd \"$1\" && mv 1 t && mv 2 1 && mv t 2", &[&source]);
    m.strata(&["import", "--delete", text(&source), "d"]).ok();
    let d = m.existing("d");
    assert_eq!((d.text("1"), d.text("2"), d.text("@v1/1")), ("dog".into(), "cat".into(), "cat".into()));
}

/// Where a directory would take the place of a file or the reverse, nothing changes, unless that may go away.
#[test]
fn kinds_that_do_not_fit_are_refused() {
    let m = Mount::new();
    let d = m.dataset("d");
    let source = m.outside().join("source");
    fs::create_dir_all(source.join("a/deep")).expect("mkdir");
    fs::write(source.join("first"), "1").expect("write");
    fs::write(source.join("b"), "a file").expect("write");
    symlink("b", source.join("link")).expect("symlink");
    d.write("a", "a file here");
    fs::create_dir_all(d.path("b/with/depth")).expect("mkdir");
    d.write("b/with/f", "x");
    d.write("link", "a file that a link replaces");
    let (before, versions) = (facts(d.root()), d.versions());
    let said = m.strata(&["import", text(&source), "d"]).fails(1);
    assert!(said.contains("source/a would take the place") || said.contains("source/b would take"), "{said}");
    assert_same_facts(&facts(d.root()), &before);
    assert_eq!(d.versions(), versions);
    m.strata(&["import", "--delete", text(&source), "d"]).ok();
    assert_same_tree(&source, d.root());
    assert_eq!(d.versions(), versions + 1);
    assert_eq!(d.text(&format!("@v{versions}/b/with/f")), "x");
}

/// The live tree is the new one at once, whatever the kernel had cached; a file that is open stays what it was
/// for who has it open, and can be written to.
#[test]
fn imports_show_through_every_cache() {
    let m = Mount::new();
    let d = m.dataset("d");
    let source = m.outside().join("source");
    fs::create_dir_all(source.join("dir/new")).expect("mkdir");
    for (name, bytes) in
        [("dir/f", "imported"), ("dir/open", "imported"), ("dir/comes", "y"), ("dir/new/g", "z")]
    {
        fs::write(source.join(name), bytes).expect("write");
    }
    d.mkdir("dir");
    d.write("dir/f", "before");
    d.write("dir/open", "before");
    d.write("dir/goes", "x");
    let mut open = File::options().read(true).append(true).open(d.path("dir/open")).expect("open");
    let look = || (d.text("dir/f"), d.list("dir"), d.has("dir/comes"), d.has("dir/goes"), d.has("dir/new/g"));
    assert_eq!(look().0, "before");
    m.strata(&["import", "--delete", text(&source), "d"]).ok();
    let (f, list, comes, goes, new) = look();
    assert_eq!((f.as_str(), comes, goes, new), ("imported", true, false, true));
    assert_eq!(list, ["comes", "f", "new", "open"]);
    let mut through = String::new();
    open.read_to_string(&mut through).expect("read through the handle of before");
    assert_eq!((through.as_str(), d.text("dir/open").as_str()), ("before", "imported"));
    d.write("dir/f", "edited after");
    assert_eq!(d.text("@latest/dir/f"), "edited after");
}

/// Changes that wait for a commit become part of the version; in a batch there is no import.
#[test]
fn what_waits_for_a_commit_joins() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.policy("manual");
    d.write("waits", "x");
    let source = m.outside().join("source");
    sample_tree(&source, 1, 3);
    m.strata(&["import", text(&source), "d"]).ok();
    assert_eq!(d.versions(), 1);
    assert_eq!(d.text("@v1/waits"), "x");
    let command = format!("'{}' import '{}' d", binary().display(), source.display());
    let said = m.strata(&["batch", "--", "sh", "-c", &command]).fails(1);
    assert!(said.contains("a batch on d is under way"), "{said}");
}

/// What cannot be taken in is named, and nothing is.
#[test]
fn what_cannot_be_imported_is_named() {
    let m = Mount::new();
    let outside = m.outside();
    let refused = |source: &Path, wanted: &[&str]| {
        let said = m.strata(&["import", text(source), "new"]).fails(1);
        wanted.iter().for_each(|wanted| assert!(said.contains(wanted), "{wanted}: {said}"));
        assert!(!m.point().join("new").exists(), "no dataset is made in vain");
    };
    refused(&outside.join("none"), &["none", "No such file"]);
    fs::write(outside.join("file"), "x").expect("write");
    refused(&outside.join("file"), &["outside/file: it is neither a directory nor a tar or zip archive"]);
    fs::create_dir_all(outside.join("odd/dir")).expect("mkdir");
    fs::write(outside.join("odd/dir/@v3"), "x").expect("write");
    refused(&outside.join("odd"), &["odd/dir/@v3", "means a version"]);
    refused(m.store(), &["into itself"]);
    refused(m.store().parent().expect("a parent"), &["into itself"]);
    let said = m.strata(&["import", text(&outside.join("odd")), "@bad"]).fails(2);
    assert!(said.contains("dataset"), "{said}");
    m.down();
    m.up(&["--read-only"]);
    fs::remove_file(outside.join("odd/dir/@v3")).expect("unlink");
    refused(&outside.join("odd"), &["read-only"]);
}

/// An import that is interrupted, or whose daemon is killed, leaves the dataset as it was, or is there as a
/// whole.
#[test]
fn an_import_is_there_as_a_whole_or_not_at_all() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "before");
    let source = m.outside().join("source");
    sample_tree(&source, 5, 2000);
    for n in 0..6 {
        fs::write(source.join(format!("large-{n}")), noise(n, 8 << 20)).expect("write");
    }
    let mut taken = 0;
    for round in 0..6 {
        let before = (facts(m.existing("d").root()), m.existing("d").versions());
        fs::write(source.join("round"), round.to_string()).expect("write");
        let mut import = m.command(&["import", "--checksum", text(&source), "d"]).spawn().expect("start");
        thread::sleep(Duration::from_millis(30 + 60 * round));
        if round % 2 == 0 {
            // It may be done already.
            let _ = kill_process(Pid::from_child(&import), Signal::INT);
            import.wait().expect("wait");
            poll("the daemon is done with it", || m.strata(&["status"]).code == Some(0));
        } else {
            m.kill();
            import.wait().expect("wait");
            m.up(&[]);
        }
        let d = m.existing("d");
        match d.versions() - before.1 {
            0 => assert_same_facts(&facts(d.root()), &before.0),
            1 => {
                taken += 1;
                assert_same_facts(
                    &facts(&source),
                    &facts(&d.path("@latest"))
                        .into_iter()
                        .filter(|(path, _)| path != Path::new("f"))
                        .collect(),
                );
            }
            more => panic!("{more} versions"),
        }
    }
    m.strata(&["import", text(&source), "d"]).ok();
    assert_eq!(m.existing("d").text("round"), "5");
    m.strata(&["verify"]).ok();
    assert!(taken <= 6);
}

/// A directory deeper than paths can say is taken in, and many more files than are read at a time.
#[test]
fn deep_and_wide_trees_are_taken_in() {
    let m = Mount::new();
    let source = m.outside().join("source");
    fs::create_dir(&source).expect("mkdir");
    python(
        "import os, sys\nos.chdir(sys.argv[1])\nfor n in range(40):\n os.mkdir('d' * 200); os.chdir('d' * 200)\nopen('f', 'w').write('deep')",
        &[&source],
    );
    fs::create_dir(source.join("wide")).expect("mkdir");
    for n in 0..3000 {
        fs::write(source.join(format!("wide/{n}")), format!("{n}")).expect("write");
    }
    m.strata(&["import", text(&source), "d"]).ok();
    let d = m.existing("d");
    assert_eq!(d.list("wide").len(), 3000);
    assert_eq!(d.text("wide/2999"), "2999");
    let hash = m.strata(&["hash", text(&source)]).ok();
    let id = hash.split_whitespace().next().expect("an id");
    assert_eq!(d.snapshot(), id);
    assert_eq!(d.path("wide/7").metadata().expect("stat").size(), 1);
}

/// Imports at the same time into a dataset that none of them finds are all taken in.
#[test]
fn imports_at_once_make_one_dataset() {
    let m = Mount::new();
    let sources = tempfile::tempdir().expect("directory");
    for n in 0..3 {
        fs::create_dir(sources.path().join(n.to_string())).expect("mkdir");
        fs::write(sources.path().join(format!("{n}/f{n}")), noise(n, 100_000)).expect("write");
    }
    for round in 0..5 {
        let name = format!("d{round}");
        thread::scope(|scope| {
            for n in 0..3 {
                let (m, name, source) = (&m, &name, sources.path().join(n.to_string()));
                scope.spawn(move || m.strata(&["import", text(&source), name]).ok());
            }
        });
        assert_eq!(m.existing(&name).list(""), ["f0", "f1", "f2"]);
    }
}
