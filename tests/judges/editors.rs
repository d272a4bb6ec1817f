//! How editors save: over the file, or by a new file that is renamed to its name, with or without a
//! backup.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use crate::harness::*;

/// vim, or Debian's smallest build of it.
fn vim() -> Command {
    let there = |name: &&str| {
        let found = Command::new(name).arg("--version").output();
        found.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Vi IMproved"))
    };
    let name = ["vim", "vim.tiny"].into_iter().find(there).expect("vim is missing: scripts/test installs it");
    let mut vim = Command::new(name);
    vim.args(["-u", "NONE", "-i", "NONE", "-N", "-n", "-es"]);
    vim
}

/// Whatever way vim saves a file, afterwards the live file has the new text and its mode, the version
/// before has the old text, no version has a mixture, and nothing else is left but the backup asked for.
#[test]
fn vim_saves_in_each_of_its_ways() {
    let ways: [(&str, &[&str], bool); 5] = [
        ("set nobackup writebackup backupcopy=no", &[], true),
        ("set nobackup writebackup backupcopy=yes", &[], false),
        ("set backup backupcopy=no backupext=~", &["text~"], true),
        ("set backup backupcopy=yes backupext=.bak", &["text.bak"], false),
        ("set nobackup nowritebackup", &[], false),
    ];
    for (options, backups, renames) in ways {
        let m = Mount::new();
        let d = m.dataset("d");
        let old: String = (0..3000).map(|n| format!("line {n} of the old text\n")).collect();
        let new = old.replace("old", "new");
        d.write("text", &old);
        fs::set_permissions(d.path("text"), fs::Permissions::from_mode(0o750)).expect("chmod");
        let (before, inode) = (d.versions(), d.path("text").metadata().expect("stat").ino());
        let mut vim = vim();
        // By default vim makes no backups below /tmp.
        vim.args(["-c", "set backupskip=", "-c", options])
            .args(["-c", "%s/old/new/", "-c", "wq"])
            .arg(d.path("text"));
        run(&mut vim).ok();
        assert!(d.text("text") == new, "{options}: the text is not the new one");
        let meta = d.path("text").metadata().expect("stat");
        assert_eq!((meta.mode() & 0o7777, meta.ino() != inode), (0o750, renames), "{options}");
        let mut wanted = vec!["text"];
        wanted.extend(backups);
        assert_eq!(d.list(""), wanted, "{options}");
        backups.iter().for_each(|backup| assert!(d.text(backup) == old, "{options}: the backup"));
        assert!(d.text(&format!("@v{before}/text")) == old, "{options}: the version before");
        for version in before..=d.versions() {
            // A file saved in place is emptied first: that, too, is a state it had, while it was open.
            if let Ok(text) = fs::read_to_string(d.path(&format!("@v{version}/text"))) {
                assert!(text == old || text == new, "{options}: v{version} has a mixture");
            }
        }
    }
}

/// Saving by way of a temporary file, synced and renamed, with the directory synced after it, leaves
/// whole files in every version: with backups by rename, by link and by copy.
#[test]
fn saving_by_rename_leaves_whole_files_in_history() {
    let program = "
import os, shutil, sys
path, backup = sys.argv[1:]
directory = os.open(os.path.dirname(path), os.O_RDONLY)
for n in range(20):
    if os.path.exists(path):
        if backup == 'rename':
            os.rename(path, path + '~')
        elif backup == 'link':
            if os.path.exists(path + '~'):
                os.unlink(path + '~')
            os.link(path, path + '~')
        elif backup == 'copy':
            shutil.copy2(path, path + '~')
    with open(path + '.tmp', 'x') as f:
        f.write(f'{n:04}' * 5000)
        f.flush()
        os.fsync(f.fileno())
    os.rename(path + '.tmp', path)
    os.fsync(directory)
";
    let m = Mount::new();
    let d = m.dataset("d");
    for backup in ["none", "rename", "link", "copy"] {
        python(program, &[d.path(backup).as_os_str(), backup.as_ref()]);
        let whole = |text: &str| text.len() == 20_000 && text == text[..4].repeat(5000);
        assert_eq!(&d.text(backup)[..4], "0019");
        if backup != "none" {
            assert_eq!(&d.text(&format!("{backup}~"))[..4], "0018", "backup by {backup}");
        }
        for version in 1..=d.versions() {
            for name in [backup.to_owned(), format!("{backup}~")] {
                if let Ok(text) = fs::read_to_string(d.path(&format!("@v{version}/{name}"))) {
                    assert!(whole(&text), "v{version} has a torn {name}");
                }
            }
        }
    }
}

/// sed and perl edit in place as everywhere.
#[test]
fn stream_editors_edit_in_place() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", "one\ntwo\n".repeat(5000));
    shell("sed -i.bak 's/one/three/' \"$1\" && perl -pi -e 's/two/four/' \"$1\"", &[d.path("f")]);
    assert!(d.text("f") == "three\nfour\n".repeat(5000));
    assert!(d.text("f.bak") == "one\ntwo\n".repeat(5000));
    assert!(d.text("@v1/f") == d.text("f.bak"));
    assert_eq!(d.list(""), ["f", "f.bak"]);
}
