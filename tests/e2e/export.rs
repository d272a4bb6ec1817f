//! `strata export`: a version becomes an archive or a directory that needs no strata to be restored; and
//! `strata import` of archives.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::harness::*;

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

/// A tree with all that an archive can hold.
fn all_sorts(root: &Path) {
    sample_tree(root, 5, 100);
    fs::write(root.join("large"), noise(9, 3 << 20)).expect("write");
    fs::write(root.join("part-1/zeros"), vec![0; 1 << 20]).expect("write");
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).expect("mkfifo");
    let long = "n".repeat(255);
    let names: [&[u8]; 9] = [
        b"not \xff utf-8",
        b"new\nline",
        b"back\\slash",
        b"return\r",
        b"-",
        b"-rf",
        b"@x",
        long.as_bytes(),
        b"SHA256SUMS",
    ];
    for name in names {
        fs::write(root.join(std::ffi::OsStr::from_bytes(name)), name).expect("write");
    }
    let deep = root.join(vec!["d".repeat(90); 5].join("/"));
    fs::create_dir_all(&deep).expect("mkdir");
    fs::write(deep.join("f"), "deep").expect("write");
    symlink("t".repeat(300), root.join("long target")).expect("symlink");
    fs::set_permissions(root.join("empty dir"), fs::Permissions::from_mode(0o2750)).expect("chmod");
    age(root);
    let holes = File::create(root.join("holes")).expect("create");
    holes.write_all_at(b"middle", 20 << 20).and_then(|()| holes.set_len(40 << 20)).expect("write");
    fs::set_permissions(root.join("holes"), fs::Permissions::from_mode(0o600)).expect("chmod");
}

fn snapshot_of(m: &Mount, path: &Path) -> String {
    let hash = m.strata(&["hash", text(path)]).ok();
    hash.split_whitespace().next().expect("an id").to_owned()
}

fn untar(archive: &Path, into: &Path) {
    fs::create_dir(into).expect("mkdir");
    let said = tool("sh", &["-c", "tar -xpf \"$0\" -C \"$1\" 2>&1", text(archive), text(into)]);
    assert_eq!(said, "", "tar has nothing to say");
}

/// An archive is restored by tar alone, and sha256sum checks every file of it, whatever its name; the bytes
/// are the same on another machine with the same data, whatever its history, modes and times.
#[test]
fn an_export_is_restored_with_tar_and_sha256sum_alone() {
    let m = Mount::new();
    let source = m.outside().join("source");
    fs::create_dir(&source).expect("mkdir");
    all_sorts(&source);
    m.strata(&["import", text(&source), "d"]).ok();
    let d = m.existing("d");
    d.write("later", "not in v1");
    let [tar, other, own] = ["a.tar", "b.tar", "c.tar"].map(|name| m.outside().join(name));
    let said = m.strata(&["export", "d@v1", text(&tar)]).ok();
    assert!(said.starts_with("d@v1: ") && said.contains("a.tar"), "{said}");

    let restored = m.outside().join("restored");
    untar(&tar, &restored);
    let sums = "SHA256SUMS.1";
    let checked =
        tool("sh", &["-c", "cd \"$0\" && sha256sum -c \"$1\" && wc -l < \"$1\"", text(&restored), sums]);
    assert!(!checked.contains("FAILED"), "{checked}");
    let lines: usize = checked.lines().last().and_then(|n| n.trim().parse().ok()).expect("a number");
    let files = tool("sh", &["-c", "cd \"$0\" && find . -type f | tr -dc '\\n' | wc -c", text(&source)]);
    // One name has a line break, and the newest `find` prints it as it is.
    assert_eq!(lines + 1, files.trim().parse::<usize>().expect("a number"), "all files are in it");
    let holes = restored.join("holes").metadata().expect("stat");
    assert!(holes.len() == 40 << 20 && holes.blocks() * 512 < 1 << 20, "holes stay holes");
    fs::remove_file(restored.join(sums)).expect("unlink");
    assert_eq!(snapshot_of(&m, &restored), snapshot_of(&m, &source));
    assert_eq!(restored.join("script").metadata().expect("stat").mode() & 0o7777, 0o755);
    assert_eq!(restored.join("holes").metadata().expect("stat").mode() & 0o7777, 0o644);

    let elsewhere = Mount::new();
    fs::set_permissions(source.join("empty"), fs::Permissions::from_mode(0o600)).expect("chmod");
    tool("sh", &["-c", "find \"$0\" -type f -exec touch {} +", text(&source)]);
    let e = elsewhere.dataset("e");
    e.write("gone", "x");
    elsewhere.strata(&["import", "--delete", text(&source), "e"]).ok();
    elsewhere.strata(&["export", "e", text(&other)]).ok();
    assert!(fs::read(&tar).expect("read") == fs::read(&other).expect("read"), "byte by byte");
    m.down();
    m.strata(&["export", "d@v1", text(&own)]).ok();
    assert!(fs::read(&tar).expect("read") == fs::read(&own).expect("read"), "without a daemon too");
    let piped = m.strata(&["export", "d@v1", "-"]);
    assert!(fs::read(&tar).expect("read") == piped.stdout);
}

/// With --preserve, modes, owners, times and hard links come back; python reads the archive as well.
#[test]
fn an_export_preserves_what_it_is_asked_to() {
    let m = Mount::new();
    let source = m.outside().join("source");
    fs::create_dir(&source).expect("mkdir");
    all_sorts(&source);
    m.strata(&["import", text(&source), "d"]).ok();
    let (tar, restored, dir) =
        (m.outside().join("a.tar"), m.outside().join("restored"), m.outside().join("dir"));
    m.strata(&["export", "--preserve", "--no-sums", "d", text(&tar)]).ok();
    untar(&tar, &restored);
    // The directory itself is not in an archive.
    let below = |root: &Path| {
        let mut all = facts(root);
        all.remove(Path::new(""));
        all
    };
    assert_same_facts(&below(&source), &below(&restored));
    let listed = python(
        "import sys, tarfile\nt = tarfile.open(sys.argv[1])\nm = t.getmember('holes')\nprint(m.size, len(t.extractfile('large').read()), t.getmember('part-0/script too').type == tarfile.LNKTYPE or t.getmember('script').type == tarfile.LNKTYPE)",
        &[&tar],
    );
    assert_eq!(listed.trim(), format!("{} {} True", 40 << 20, 3 << 20));
    m.strata(&["export", "--preserve", "--no-sums", "d", text(&dir)]).ok();
    assert_same_facts(&below(&source), &below(&dir));
}

/// A directory is written as a whole, and its content has the snapshot id of the version.
#[test]
fn an_export_can_be_a_directory() {
    let m = Mount::new();
    let source = m.outside().join("source");
    sample_tree(&source, 5, 100);
    m.strata(&["import", text(&source), "d"]).ok();
    let dir = m.outside().join("new dir");
    let said = m.strata(&["export", "--json", "d@latest", text(&dir)]).ok();
    let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((json["version"].as_str(), json["sums"].as_str()), (Some("v1"), Some("SHA256SUMS")));
    assert_eq!(json["files"], 103);
    let sizes = tool("find", &[text(&dir), "-type", "f", "-printf", "%s\n"]);
    let bytes: u64 = sizes.lines().map(|size| size.parse::<u64>().expect("a size")).sum();
    assert_eq!(json["bytes"], bytes, "what its files have, not the archive that they came in");
    tool("sh", &["-c", "cd \"$0\" && sha256sum --quiet -c SHA256SUMS", text(&dir)]);
    let bare = m.outside().join("bare");
    fs::create_dir(&bare).expect("mkdir");
    m.strata(&["export", "--no-sums", "d", text(&bare)]).ok();
    assert_eq!(snapshot_of(&m, &bare), json["snapshot"]);
    let said = m.strata(&["export", "d", text(&bare)]).fails(1);
    assert!(said.contains("bare") && said.contains("not empty"), "{said}");
}

/// What cannot be exported is named, and nothing is left behind.
#[test]
fn exports_that_fail_leave_nothing() {
    let m = Mount::new();
    let d = m.dataset("d");
    let said = m.strata(&["export", "d", text(&m.outside().join("x.tar"))]).fails(1);
    assert!(said.contains("d has no version"), "{said}");
    for n in 0..20 {
        d.write(&format!("f{n}"), noise(n, 200_000));
    }
    let refused = |object: &str, target: &str, code: i32, wanted: &str| {
        let said = m.strata(&["export", object, text(&m.outside().join(target))]).fails(code);
        assert!(said.contains(wanted), "{wanted}: {said}");
    };
    refused("d@v99", "x.tar", 1, "v99");
    refused("none", "x.tar", 1, "none");
    refused("d", "x.tar.gz", 2, ".tar.gz");
    refused("d", "no/such/x.tar", 1, "no/such/x.tar");
    fs::write(m.outside().join("kept.tar"), "precious").expect("write");
    refused("d", "kept.tar", 1, "exists already");
    refused("d@v1/f0", "x.tar", 2, "without a path");
    m.strata(&["export", "--force", "d", text(&m.outside().join("kept.tar"))]).ok();
    // What is no file is not replaced, however it is asked for: it may be /dev/null.
    let (pipe, link) = (m.outside().join("pipe.tar"), m.outside().join("link.tar"));
    tool("mkfifo", &[text(&pipe)]);
    std::os::unix::fs::symlink("/dev/null", &link).expect("symlink");
    for target in [&pipe, &link] {
        for how in [&["export", "--force", "d"][..], &["bundle", "--force", "d", "-o"]] {
            let said = m.strata(&[how, &[text(target)]].concat()).fails(1);
            assert!(said.contains("no ordinary file"), "{said}");
        }
    }
    assert!(fs::read_link(&link).is_ok() && fs::symlink_metadata(&pipe).is_ok_and(|meta| !meta.is_file()));
    fs::remove_file(&pipe).and_then(|()| fs::remove_file(&link)).expect("remove");
    assert!(fs::metadata(m.outside().join("kept.tar")).expect("stat").len() > 4_000_000);
    fs::remove_file(m.outside().join("kept.tar")).expect("unlink");

    // A damaged chunk.
    m.down();
    let pack = fs::read_dir(m.store().join("packs")).expect("list").map(|e| e.expect("entry").path());
    let pack = pack.max_by_key(|path| path.metadata().expect("stat").len()).expect("a pack");
    let bytes = fs::read(&pack).expect("read");
    let wanted = &noise(7, 200_000)[50_000..50_032];
    let at = bytes.windows(32).position(|part| part == wanted).expect("the bytes of f7");
    let file = File::options().write(true).open(&pack).expect("open");
    file.write_all_at(&[bytes[at] ^ 1], at as u64).expect("write");
    m.up(&[]);
    for target in ["x.tar", "x"] {
        refused("d", target, 1, "f7");
        refused("d", target, 1, "d@v20");
    }
    let left = fs::read_dir(m.outside()).expect("list").count();
    assert_eq!(left, 0, "nothing is left behind");
}

/// Makes an archive of a directory with a tool.
fn packed(m: &Mount, source: &Path, name: &str, command: &str) -> PathBuf {
    let archive = m.outside().join(name);
    tool("sh", &["-c", &format!("cd \"$0\" && {command}"), text(source), text(&archive)]);
    archive
}

/// Archives of tar in all of its formats, and compressed ones, become a version that is the tree they were made
/// of; importing them again makes none.
#[test]
fn an_archive_is_taken_in_as_the_tree_it_was_made_of() {
    let m = Mount::new();
    let source = m.outside().join("source");
    fs::create_dir(&source).expect("mkdir");
    all_sorts(&source);
    m.strata(&["import", text(&source), "plain"]).ok();
    let expected = facts(m.existing("plain").root());
    for (n, (name, command)) in [
        ("pax.tar", "tar --format=pax --sparse -cf \"$1\" ."),
        ("gnu.tar", "tar --format=gnu -cf \"$1\" ."),
        ("sparse.tar", "tar --format=gnu --sparse -cf \"$1\" ."),
        ("old-sparse.tar", "tar --format=pax --sparse --sparse-version=0.1 -cf \"$1\" ."),
        ("oldest-sparse.tar", "tar --format=pax --sparse --sparse-version=0.0 -cf \"$1\" ."),
        ("any.tgz", "tar --format=pax -czf \"$1\" ."),
        ("any.zst", "tar --format=pax -cf - . | zstd -q > \"$1\""),
    ]
    .into_iter()
    .enumerate()
    {
        let archive = packed(&m, &source, name, command);
        let dataset = format!("d{n}");
        assert_eq!(
            m.strata(&["import", text(&archive), &dataset]).ok(),
            format!("{dataset}: v1\n"),
            "{name}"
        );
        let mut found = facts(m.existing(&dataset).root());
        if name.starts_with("gnu") || name.starts_with("sparse") {
            // They have no parts of seconds.
            for (path, facts) in &mut found {
                facts.mtime.1 = expected[path].mtime.1;
            }
        }
        assert_same_facts(&found, &expected);
        let again = m.strata(&["import", text(&archive), &dataset]);
        assert!(again.stderr.contains("nothing changed since v1"), "{name}: {}", again.stderr);
    }
    // In an archive of its own, the checksums are not taken for a part of the dataset.
    let own = m.outside().join("own.tar");
    m.strata(&["export", "plain", text(&own)]).ok();
    m.strata(&["import", text(&own), "own"]).ok();
    assert_eq!(m.existing("own").snapshot(), m.existing("plain").snapshot());
    m.existing("own").write("extra", "x");
    m.strata(&["import", "--delete", "-m", "as it was", text(&own), "own"]).ok();
    assert_eq!(m.existing("own").snapshot(), m.existing("plain").snapshot());
    assert_eq!(m.existing("own").newest()["message"], "as it was");
    m.down();
    assert_eq!(m.strata(&["import", text(&own), "unmounted"]).ok(), "unmounted: v1\n");
    m.up(&[]);
    m.strata(&["verify"]).ok();
}

/// A zip archive is taken in, with the modes, times and links that it has.
#[test]
fn a_zip_archive_is_taken_in() {
    let m = Mount::new();
    let source = m.outside().join("source");
    sample_tree(&source, 5, 100);
    let zip = m.outside().join("a.zip");
    python(
        "import os, sys, zipfile, time\nz = zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED)\nos.chdir(sys.argv[1])\nfor d, ds, fs in os.walk('.'):\n for n in ds + fs:\n  p = os.path.join(d, n)[2:]\n  s = os.lstat(p)\n  if os.path.isdir(p) and not os.path.islink(p): z.write(p, p); continue\n  i = zipfile.ZipInfo(p, time.gmtime(s.st_mtime)[:6]); i.external_attr = s.st_mode << 16; i.create_system = 3; i.compress_type = zipfile.ZIP_DEFLATED\n  z.writestr(i, os.readlink(p) if os.path.islink(p) else open(p, 'rb').read())",
        &[&source, &zip],
    );
    assert_eq!(m.strata(&["import", text(&zip), "d"]).ok(), "d: v1\n");
    let d = m.existing("d");
    assert_eq!(d.snapshot(), snapshot_of(&m, &source));
    let [there, here] = [&source, &d.root().to_owned()].map(|root| {
        let meta = root.join("script").metadata().expect("stat");
        (meta.mode(), meta.mtime() / 2)
    });
    assert_eq!(there, here, "its time counts every other second");
    let mut bytes = fs::read(&zip).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(&zip, &bytes).expect("write");
    let said = m.strata(&["import", text(&zip), "d"]).fails(1);
    assert!(said.contains("a.zip: member ") && d.versions() == 1, "{said}");
    bytes.truncate(middle);
    fs::write(&zip, &bytes).expect("write");
    let said = m.strata(&["import", text(&zip), "other"]).fails(1);
    assert!(said.contains("a.zip") && !m.point().join("other").exists(), "{said}");
}

/// What `zip` read from a pipe is a file, though the archive calls it a pipe.
#[test]
fn what_zip_read_from_a_pipe_is_a_file() {
    let m = Mount::new();
    let zip = m.outside().join("a.zip");
    python(
        "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\nfor n, b in ('piped', b'bytes'), ('fifo', b''):\n i = zipfile.ZipInfo(n); i.create_system = 3; i.external_attr = 0o010600 << 16; z.writestr(i, b)",
        &[&zip],
    );
    m.strata(&["import", text(&zip), "d"]).ok();
    let d = m.existing("d");
    assert_eq!(d.text("piped"), "bytes");
    assert!(d.path("fifo").symlink_metadata().expect("stat").file_type().is_fifo());
}

/// The label of a volume is no member; and what a zip archive is packed with that is not known is told of by its name.
#[test]
fn odd_members_are_passed_over_or_named() {
    let m = Mount::new();
    let (source, label) = (m.outside().join("source"), m.outside().join("label.tar"));
    fs::create_dir(&source).expect("mkdir");
    fs::write(source.join("f"), "content").expect("write");
    shell("tar -V 'a label' -cf \"$2\" -C \"$1\" f", &[&source, &label]);
    m.strata(&["import", text(&label), "d"]).ok();
    assert_eq!(m.existing("d").list(""), ["f"]);
    let zip = m.outside().join("a.zip");
    let program = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_LZMA)\nz.writestr('in/f', 'x' * 999)";
    python(program, &[&zip]);
    let said = m.strata(&["import", text(&zip), "other"]).fails(1);
    assert!(said.contains("member in/f: ") && said.contains("import the directory"), "{said}");
}

/// What an archive claims is not trusted: what leads out of it, contradicts itself or is cut short is refused by
/// name, and nothing lands.
#[test]
fn hostile_archives_are_refused() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "before");
    let make = |name: &str, members: &str| {
        let archive = m.outside().join(name);
        let script = format!(
            "import io, sys, tarfile\nt = tarfile.open(sys.argv[1], 'w')\ndef add(name, kind=tarfile.REGTYPE, link='', data=b'x'):\n i = tarfile.TarInfo(name); i.type = kind; i.linkname = link; i.size = len(data) if kind == tarfile.REGTYPE else 0\n t.addfile(i, io.BytesIO(data))\nadd('first')\n{members}\nt.close()"
        );
        python(&script, &[&archive]);
        archive
    };
    let refused = |archive: &Path, wanted: &str| {
        let said = m.strata(&["import", text(archive), "d"]).fails(1);
        assert!(said.contains(wanted) && said.contains(text(archive)), "{wanted}: {said}");
        assert_eq!((d.versions(), d.list("")), (1, vec!["f".to_owned()]));
        let said = m.strata(&["import", text(archive), "new"]).fails(1);
        assert!(said.contains(wanted) && !m.point().join("new").exists(), "{said}");
    };
    for (members, wanted) in [
        ("add('../out')", "../out"),
        ("add('a/../../out')", "leads out"),
        ("add('/etc/passwd')", "absolute"),
        ("add('a', tarfile.SYMTYPE, '/etc'); add('a/passwd')", "no directory"),
        ("add('a', tarfile.LNKTYPE, '/etc/passwd')", "absolute"),
        ("add('a', tarfile.LNKTYPE, '../f')", "leads out"),
        ("add('a', tarfile.LNKTYPE, 'later'); add('later')", "not before it"),
        ("add('dir/@v3')", "means a version"),
        ("add('first/below')", "no directory"),
        ("add('first', tarfile.DIRTYPE)", "twice"),
        ("add('a', tarfile.LNKTYPE, 'first'); add('first')", "twice"),
        ("add('a', b'Q')", "not known"),
        ("add('n' * 256)", "256"),
        ("add('a', tarfile.SYMTYPE, '')", "link"),
    ] {
        refused(&make("bad.tar", members), wanted);
    }
    let whole = fs::read(make("whole.tar", "add('big', data=bytes(range(256)) * 4000)")).expect("read");
    let cut = m.outside().join("cut.tar");
    // In a header, in data, and between members: without the mark of its end it is not whole.
    for len in [512, 1024, 1536, 2048, 500_000, 1_025_536] {
        fs::write(&cut, &whole[..len.min(whole.len())]).expect("write");
        refused(&cut, "truncated");
    }
    let mut damaged = whole.clone();
    damaged[1024] ^= 1;
    fs::write(&cut, &damaged).expect("write");
    refused(&cut, "checksum");
    fs::write(&cut, "no archive at all, whatever it may be\n".repeat(40)).expect("write");
    refused(&cut, "no tar archive");
    for short in ["", "short"] {
        fs::write(&cut, short).expect("write");
        refused(&cut, "neither a directory nor a tar or zip archive");
    }
    let packed = m.outside().join("packed");
    tool(
        "sh",
        &["-c", "gzip -c \"$0\" | head -c 900 > \"$1\"", text(&m.outside().join("whole.tar")), text(&packed)],
    );
    refused(&packed, "truncated");
    fs::write(&packed, b"\xfd7zXZ\0rest").expect("write");
    refused(&packed, "xz");
    let said = m.strata(&["import", "/dev/null", "d"]).fails(1);
    assert!(said.contains("neither a directory nor an archive"), "{said}");

    // Of two members of one path the later counts.
    let twice = make("twice.tar", "add('first', data=b'later')");
    m.strata(&["import", text(&twice), "d"]).ok();
    assert_eq!((d.text("first"), d.text("f")), ("later".into(), "before".into()));
    m.strata(&["verify"]).ok();
}

/// What a killed export left beside its target goes with the next one there; what a running one writes stays.
#[test]
fn the_next_export_removes_what_a_killed_one_left() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("large", noise(1, 64 << 20));
    let left = || -> Vec<String> {
        let names = fs::read_dir(m.outside()).expect("list").map(|e| e.expect("entry").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with('.')).collect()
    };
    let begin = |target: &str| {
        let child = m.command(&["export", "d", text(&m.outside().join(target))]).spawn().expect("start");
        // It first removes what others left.
        while !left().contains(&format!(".strata-export.{}", child.id())) {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        child
    };
    let killed = ["killed.tar", "killed"].map(begin);
    for mut child in killed {
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
    assert_eq!(left().len(), 2, "both were killed in the midst: {:?}", left());
    // A process that runs, and is stopped in the midst.
    let mut child = begin("stopped.tar");
    let pid = child.id().to_string();
    tool("kill", &["-STOP", &pid]);
    m.strata(&["export", "d", text(&m.outside().join("whole.tar"))]).ok();
    assert_eq!(left(), [format!(".strata-export.{pid}")]);
    tool("kill", &["-CONT", &pid]);
    assert!(child.wait().expect("wait").success());
    assert_eq!(left().len(), 0);
    let read = |name: &str| fs::read(m.outside().join(name)).expect("read");
    assert_eq!(read("stopped.tar"), read("whole.tar"));
}

/// Where the target's disk is full, the export says so of the target, and leaves nothing there.
#[test]
fn a_full_target_is_told_of_as_the_target() {
    let m = Mount::new();
    m.dataset("d").write("large", noise(1, 4 << 20));
    let small = m.outside().join("small");
    fs::create_dir(&small).expect("mkdir");
    tool("mount", &["-t", "tmpfs", "-o", "size=1m", "none", text(&small)]);
    let said: Vec<String> = ["x.tar", "x"]
        .into_iter()
        .map(|target| m.strata(&["export", "d", text(&small.join(target))]).fails(1))
        .collect();
    let left = fs::read_dir(&small).expect("list").count();
    tool("umount", &[text(&small)]);
    for said in said {
        assert!(said.contains(text(&small)) && said.contains("No space left"), "{said}");
        assert!(!said.contains("store") && said.matches("cannot").count() == 1, "{said}");
        assert!(!said.contains(".strata-export"), "what is made for now is nobody's business: {said}");
    }
    assert_eq!(left, 0);
}
