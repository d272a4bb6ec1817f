//! Disks without one free byte, filled by somebody else: ext4 and tmpfs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use tempfile::TempDir;

use crate::harness::command::run;
use crate::harness::{Mount, as_root, facts, noise, poll, tool};

/// A small file system of its own.
struct Disk {
    at: PathBuf,
    _dir: TempDir,
}

impl Disk {
    fn new(kind: &str) -> Disk {
        let dir = TempDir::with_prefix("strata-full-").expect("make a temporary directory");
        let at = dir.path().join("disk");
        fs::create_dir(&at).expect("make a directory");
        if kind == "tmpfs" {
            run(as_root("mount").args(["-t", "tmpfs", "-o", "size=48m", "none"]).arg(&at)).ok();
        } else {
            let image = dir.path().join("image");
            File::create(&image).and_then(|f| f.set_len(48 << 20)).expect("make an image");
            // Nothing reserved for root, who would have room where nobody else has.
            let image = image.to_str().expect("text");
            tool("mkfs.ext4", &["-q", "-m", "0", image]);
            run(as_root("mount").args(["-o", "loop", image]).arg(&at)).ok();
        }
        run(as_root("chmod").arg("777").arg(&at)).ok();
        Disk { at, _dir: dir }
    }

    /// Takes every byte there is.
    fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).expect("open");
        // Most of it at once, the rest byte by byte; the daemon may take some or give some back meanwhile.
        let _ =
            rustix::fs::fallocate(&ballast, FallocateFlags::empty(), 0, self.free().saturating_sub(1 << 20));
        poll("the disk is full", || {
            let mut size = 1 << 20;
            while size > 0 {
                if ballast.write_all(&vec![1; size]).is_err() {
                    size /= 2;
                }
            }
            let _ = ballast.sync_all();
            self.free() == 0
        });
    }

    /// Takes all but `left` bytes.
    fn fill_but(&self, left: u64) {
        let ballast = File::options().create(true).append(true).open(self.ballast()).expect("open");
        let taken = self.free().saturating_sub(left);
        rustix::fs::fallocate(&ballast, FallocateFlags::empty(), 0, taken).expect("fallocate");
    }

    fn free(&self) -> u64 {
        rustix::fs::statvfs(&self.at).map(|s| s.f_bavail * s.f_frsize).expect("statvfs")
    }

    fn empty(&self) {
        fs::remove_file(self.ballast()).expect("remove the ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = as_root("umount").arg("-l").arg(&self.at).output();
    }
}

fn content(n: u64) -> Vec<u8> {
    noise(n, 3000 + n as usize * 100)
}

fn write(root: &Path, n: u64) -> std::io::Result<()> {
    fs::write(root.join(format!("f{n}")), content(n))
}

/// All `files` files can be read, live and in the version each was made in, by path and by command, and
/// there are so many versions.
fn check(m: &Mount, files: u64, versions: u64) {
    let root = m.point().join("d");
    for n in 1..=files {
        let name = format!("f{n}");
        assert!(fs::read(root.join(&name)).expect("read a live file") == content(n), "{name}");
        assert!(
            fs::read(root.join(format!("@v{n}/{name}"))).expect("read a version") == content(n),
            "{name}"
        );
    }
    assert_eq!(m.existing("d").versions(), versions);
    assert_eq!(m.strata(&["cat", &format!("d@v{files}/f1")]).stdout, content(1));
    m.strata(&["verify"]).ok();
    m.status();
}

/// Somebody else fills the disk to the last byte while versions wait to be indexed: reading, history,
/// verification and `status` go on; writers get ENOSPC; when there is space again all works without a
/// remount.
#[test]
fn somebody_else_fills_the_disk() {
    for kind in ["tmpfs", "ext4"] {
        let disk = Disk::new(kind);
        let m = Mount::unmounted().store_at(disk.at.join("store"));
        m.up(&[]);
        let root = m.dataset("d").root().to_owned();
        (1..=40).for_each(|n| write(&root, n).expect("write"));
        // So many names that the index needs more room for them than it has.
        let many = "mkdir many && cd many && seq 2000 | xargs touch";
        run(m.command(&["batch", "--", "sh", "-euc", many]).current_dir(&root)).ok();
        disk.fill();
        let no_space = |result: std::io::Result<()>| {
            assert_eq!(result.expect_err("there is no space").raw_os_error(), Some(libc::ENOSPC));
        };
        // Longer than the index takes to notice, and to try again.
        for _ in 0..3 {
            check(&m, 40, 41);
            assert_eq!(fs::read_dir(root.join("@v41/many")).expect("list").count(), 2000);
            no_space(write(&root, 41));
            no_space(fs::remove_file(root.join("f1")));
            std::thread::sleep(std::time::Duration::from_millis(1300));
        }
        check(&m, 40, 41);
        disk.empty();
        poll("writing works again", || write(&root, 41).is_ok());
        m.strata(&["commit", "d"]).ok();
        m.strata(&["verify"]).ok();
        let wanted = facts(&root);
        m.down();
        m.up(&[]);
        crate::harness::assert_same_facts(&facts(&root), &wanted);
    }
}

/// A lost index that the disk has not enough room for is kept in memory.
#[test]
fn an_index_that_finds_no_room_is_kept_in_memory() {
    let disk = Disk::new("tmpfs");
    let source = TempDir::with_prefix("strata-many-").expect("make a temporary directory");
    for n in 0..100_000 {
        let dir = source.path().join(format!("{}", n / 1000));
        if n % 1000 == 0 {
            fs::create_dir(&dir).expect("make a directory");
        }
        fs::write(dir.join(n.to_string()), n.to_string()).expect("write");
    }
    let m = Mount::unmounted().store_at(disk.at.join("store"));
    m.up(&[]);
    m.strata(&["import", source.path().to_str().expect("text"), "d"]).ok();
    for left in [3 << 20, 6 << 20] {
        m.down();
        tool("rm", &["-r", m.store().join("index").to_str().expect("text")]);
        disk.fill_but(left);
        m.up(&[]);
        for n in (0..100_000).step_by(999) {
            let path = m.point().join(format!("d/@v1/{}/{n}", n / 1000));
            assert_eq!(fs::read_to_string(path).expect("read"), n.to_string());
        }
        disk.empty();
    }
    poll("writing works again", || fs::write(m.point().join("d/new"), "text").is_ok());
    m.strata(&["verify"]).ok();
}

/// Where not even a deletion finds room any more, a prune and a collection do, and make some.
#[test]
fn a_prune_makes_room_on_a_disk_too_full_for_deletions() {
    let disk = Disk::new("tmpfs");
    let m = Mount::unmounted().store_at(disk.at.join("store"));
    m.up(&[]);
    let d = m.dataset("d");
    fs::write(d.path("large"), noise(1, 8 << 20)).expect("write");
    // Seals the pack that has it.
    m.strata(&["gc"]).ok();
    fs::write(d.path("large"), "small").expect("write");
    disk.fill_but(1700 << 10);
    for refused in [fs::remove_file(d.path("large")), fs::write(d.path("other"), "text")] {
        assert_eq!(refused.expect_err("there is no space").raw_os_error(), Some(libc::ENOSPC));
    }
    let refused = m.strata(&["tag", "d", "full"]).fails(1);
    assert!(refused.contains("no space left"), "{refused}");
    m.strata(&["prune", "d", "--keep-last", "1"]).ok();
    m.strata(&["gc"]).ok();
    assert!(disk.free() > 8 << 20, "{} bytes are free", disk.free());
    fs::remove_file(d.path("large")).expect("remove");
    m.strata(&["verify"]).ok();
}

/// A store on a disk without one free byte can be mounted and read, however it was left: killed, closed
/// in order, with its index lost, or moved there from another machine. Writers get ENOSPC or EROFS until
/// there is space (and, where not even that could be noted, until the next mount), and then all works.
#[test]
fn a_store_on_a_full_disk_can_be_mounted() {
    for kind in ["tmpfs", "ext4"] {
        for left in ["killed", "closed", "killed without index", "closed without index", "without marker"] {
            let disk = Disk::new(kind);
            let m = Mount::unmounted().store_at(disk.at.join("store"));
            m.up(&[]);
            let root = m.dataset("d").root().to_owned();
            (1..=30).for_each(|n| write(&root, n).expect("write"));
            let remove = |name: &str| tool("rm", &["-r", m.store().join(name).to_str().expect("text")]);
            if left.starts_with("killed") {
                m.kill();
            } else {
                m.down();
            }
            if left.ends_with("without index") {
                drop(remove("index"));
            }
            if left == "without marker" {
                // As a release before this one left it.
                drop(remove("open"));
            }
            disk.fill();
            let ran = m.try_up(&[]);
            assert_eq!(ran.code, Some(0), "{kind}, {left}: {}", ran.stderr);
            check(&m, 30, 30);
            let refused = write(&root, 31).expect_err("there is no space").raw_os_error();
            let read_only = m.status()["read_only"] == true;
            let wanted = if read_only { libc::EROFS } else { libc::ENOSPC };
            assert_eq!(refused, Some(wanted), "{kind}, {left}");
            if read_only {
                let because = m.status()["read_only_because"].to_string();
                assert!(because.contains("no space left"), "{kind}, {left}: {because}");
            }
            disk.empty();
            if read_only {
                m.down();
                m.up(&[]);
            }
            poll("writing works again", || write(&root, 31).is_ok());
            m.strata(&["verify"]).ok();
            m.kill();
            m.up(&[]);
            let files: BTreeMap<_, _> = facts(&root);
            assert_eq!(files.len(), 32, "{kind}, {left}");
        }
    }
}
