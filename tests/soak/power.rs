//! The machine loses power: the file system under the store is shut down in the midst of everything, so that
//! all is gone that was not synced.
//!
//! The store lies on ext4 or XFS in an image that is mounted through a loop device. FS_IOC_SHUTDOWN without
//! a flush of the file system's journal is what a loss of power is to it; from then on every call fails with
//! EIO, until the image is mounted again and its journal replayed.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::test_kill_process;
use serde_json::json;

use crate::check::{Figures, Subject, read_journals, wait_for_writers};
use crate::harness::*;
use crate::kill::subjects;
use crate::listing::Lister;
use crate::process::Crowd;
use crate::{say, setting};

/// Longest time for which what returned may be missing, in seconds: the contract's second, and the syncs of a
/// loaded machine.
const WINDOW: f64 = 5.0;

/// Rounds after which a new image is made.
const ROUNDS: usize = 10;

/// FS_IOC_SHUTDOWN with the flag for "do not flush the log"; prints the time before.
const CUT: &str = "import fcntl, os, struct, sys, time; \
    fd, flags = os.open(sys.argv[1], os.O_RDONLY), struct.pack('I', 2); \
    print(time.monotonic(), flush=True); \
    fcntl.ioctl(fd, 0x8004587d, flags)";

/// A file system in an image, mounted.
struct Image {
    image: PathBuf,
    point: PathBuf,
}

impl Image {
    /// Makes and mounts one, or says why not.
    fn new(dir: &Path, kind: &str) -> Result<Image, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root mounts images".into());
        }
        let (image, point) = (dir.join("image"), dir.join("disk"));
        File::create(&image).and_then(|file| file.set_len(6 << 30)).expect("make an image");
        fs::create_dir_all(&point).expect("make a mountpoint");
        let options: &[&str] = if kind == "ext4" { &["-q", "-F"] } else { &["-q", "-f"] };
        run(Command::new(format!("mkfs.{kind}")).args(options).arg(&image)).ok();
        let image = Image { image, point };
        let ran = image.try_mount();
        if ran.code == Some(0) { Ok(image) } else { Err(format!("{}: {}", ran.what, ran.stderr)) }
    }

    fn try_mount(&self) -> Ran {
        // The loop device is let go of by the kernel when this is unmounted.
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.point))
    }

    fn mount(&self) {
        self.try_mount().ok();
    }

    fn unmount(&self) {
        let mut ran = None;
        poll("the image is unmounted", || {
            let tried = run(Command::new("umount").arg(&self.point));
            let done = tried.code == Some(0);
            ran = Some(tried);
            done
        });
    }

    /// Cuts the power, and tells when. An fsync that returns later may say that all went well where nothing
    /// did: the kernel has thrown away the transaction it was to wait for. It is as if it had not returned.
    fn cut(&self) -> f64 {
        python(CUT, &[&self.point]).trim().parse().expect("a time")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.point).stderr(Stdio::null()).status();
    }
}

/// A daemon: in the foreground, with a log that does not go down with the store, or in the background, as
/// users have it.
enum Daemon {
    Foreground { child: Child, log: PathBuf },
    Background { said: String },
}

impl Daemon {
    fn background(m: &Mount, options: &[&str]) -> Daemon {
        let ran = m.try_up(options);
        let said = ran.stderr.clone();
        ran.ok();
        Daemon::Background { said }
    }

    fn foreground(m: &Mount) -> Daemon {
        let log = m.outside().join("daemon.log");
        let mut command = m.command(&["mount", "--foreground"]);
        command.arg(m.point()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(File::create(&log).expect("make a log")).spawn().expect("start strata");
        let mut daemon = Daemon::Foreground { child, log };
        poll("the store is mounted", || {
            daemon.assert_alive(m);
            is_mounted(m.point()) && m.strata(&["status", "--json"]).code == Some(0)
        });
        daemon
    }

    /// What it said since it was started.
    fn said(&self, m: &Mount) -> String {
        let read = |log: &Path| String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
        match self {
            Daemon::Foreground { log, .. } => read(log),
            Daemon::Background { said } => said.clone() + &read(&m.store().join("daemon.log")),
        }
    }

    fn assert_alive(&mut self, m: &Mount) {
        let ended = match self {
            Daemon::Foreground { child, .. } => child.try_wait().expect("wait for the daemon").is_some(),
            Daemon::Background { .. } => m.daemon().is_none_or(|pid| test_kill_process(pid).is_err()),
        };
        assert!(!ended, "the daemon ended: {}", self.said(m));
    }

    /// Kills it, which has to be running; it has said nothing of a defect.
    fn end(mut self, m: &Mount) {
        self.assert_alive(m);
        match &mut self {
            Daemon::Foreground { child, .. } => {
                child.kill().expect("kill the daemon");
                child.wait().expect("wait for the daemon");
            }
            Daemon::Background { .. } => m.kill(),
        }
        run(Command::new("umount").arg("-l").arg(m.point())).ok();
        let said = self.said(m);
        for word in ["panicked", "defect"] {
            assert!(!said.contains(word), "the daemon's log: {said}");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Daemon::Foreground { child, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn is_mounted(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.contains(&format!(" {} ", point.display()))
}

/// The least each journal has to be at: what fsync and commit said is durable, all that had returned where
/// every call was to be durable.
fn least(subjects: &mut [Subject], end: f64, always: bool) -> Vec<Vec<usize>> {
    let synced = read_journals(subjects, end);
    if !always {
        return synced;
    }
    let all = |subject: &Subject| subject.journals.iter().map(|j| j.returned_by(f64::INFINITY)).collect();
    subjects.iter().map(all).collect()
}

fn power(kind: &str) {
    let rounds: usize = setting("SOAK_CUTS", 3);
    let seed: u64 = setting("SOAK_SEED", 1);
    let (mut total, mut random) = (Figures::default(), Random::new(seed));
    for first in (0..rounds).step_by(ROUNDS) {
        let last = rounds.min(first + ROUNDS);
        if let Err(why) = rounds_on_one_store(kind, first..last, &mut total, &mut random) {
            return skipped(&format!("power loss on {kind}"), &why);
        }
    }
    say(format!(
        "power on {kind}: {rounds} rounds (seed {seed}); {} versions compared with the journals and {} with what \
         they were; synced changes lost: 0; others that had returned and are gone: {}, the longest for {:.1} s",
        total.compared, total.again, total.lost, total.lost_for
    ));
}

fn rounds_on_one_store(
    kind: &str,
    rounds: Range<usize>,
    total: &mut Figures,
    random: &mut Random,
) -> Result<(), String> {
    let home = Mount::unmounted_for(Duration::from_secs(300 + 60 * rounds.len() as u64));
    let dir = home.outside();
    let image = Image::new(&dir, kind)?;
    let m = home.store_at(image.point.join("store"));
    let mut subjects = subjects(&dir);
    let mut daemon = Daemon::foreground(&m);
    subjects.iter().for_each(|subject| subject.make(&m));
    m.strata(&["commit", "one"]).ok();
    for round in rounds {
        // Every fifth time with --sync=always.
        let always = round % 5 == 4;
        if always {
            daemon.end(&m);
            daemon = Daemon::background(&m, &["--sync=always"]);
        }
        let mut crowd = Crowd::default();
        // Every third time nobody has anything synced, so that the last moments are there to be lost.
        let fsyncs = [0.3, 0.03, 0.0][round % 3];
        let more = json!({"may_go": true, "largest": 300_000, "fsyncs": fsyncs});
        crowd.start_writers(&m, &dir, &subjects, random.number() >> 20, &more);
        wait_for_writers(&subjects);
        thread::sleep(Duration::from_millis(random.below(2500) as u64));
        let cut = image.cut();
        // Nothing hangs: the writers end, and the daemon answers.
        crowd.wait(Duration::from_secs(60), true);
        let status = m.strata(&["status"]);
        assert!(matches!(status.code, Some(0 | 1)), "{status:?}");
        let listed = run(Command::new("ls").arg("-l").arg(m.point()));
        assert!(listed.code.is_some(), "{listed:?}");
        daemon.end(&m);
        image.unmount();
        image.mount();

        daemon = if round % 2 == 0 { Daemon::background(&m, &[]) } else { Daemon::foreground(&m) };
        let said = daemon.said(&m);
        assert!(said.contains("rebuilding its index"), "the index is to be doubted: {said}");
        let least = least(&mut subjects, cut, always);
        let mut lister = Lister::default();
        for (subject, least) in subjects.iter_mut().zip(&least) {
            let figures = subject.check(&m, &mut lister, least, cut, 10, random);
            assert!(
                figures.lost_for < WINDOW,
                "{}: changes of {} s are gone",
                subject.name,
                figures.lost_for
            );
            total.add(Figures { versions: 0, ..figures });
        }
        m.strata(&["verify"]).ok();
    }
    daemon.end(&m);
    image.unmount();
    Ok(())
}

/// After the power goes under many writers, the store is mounted without any repair; everything that
/// fsync, commit or rollback said was durable is there, with all that had returned before; versions are
/// without gaps, each is what its writer made, and at most the last moments are missing. The daemon, whose
/// disk is gone, neither hangs nor panics.
#[test]
fn synced_changes_survive_a_power_loss_on_ext4() {
    power("ext4");
}

/// The same with the store on XFS.
#[test]
fn synced_changes_survive_a_power_loss_on_xfs() {
    power("xfs");
}
