//! The n-th call of a kind fails, for every n that a script makes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::rig::say;
use super::round::{End, Round};
use super::scripts::Script;
use super::shim::{Class, Fault};

/// Most points of a kind that are tried unless `STRIDE` says otherwise.
const POINTS: u32 = 12;

/// Runs rounds on some threads, and says what was wrong.
fn rounds(name: &str, script: Script, todo: Vec<(Fault, End)>) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let seen = Mutex::new(BTreeMap::<String, usize>::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((fault, end)) = todo.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let out = Round::run(script, Some(*fault), *end);
                    let what = match (out.fired, out.mount_failed, out.read_only, out.failed) {
                        (0, ..) => "never came",
                        (_, true, ..) => "failed the mount",
                        (.., true, _) => "made it read-only",
                        (.., 0) => "went unnoticed",
                        _ => "failed calls",
                    };
                    *seen.lock().expect("no panic").entry(what.into()).or_default() += 1;
                    if !out.wrong.is_empty() {
                        let text =
                            format!("{fault:?}, {end:?}, hit {}:\n  {}", out.hit, out.wrong.join("\n  "));
                        failures.lock().expect("no panic").push(text);
                    }
                }
            });
        }
    });
    say(&format!("faults of {name}: {} rounds: {:?}", todo.len(), seen.into_inner().expect("no panic")));
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{} rounds went wrong:\n{}", failures.len(), failures.join("\n"));
}

/// Points of a class to try, of `count` that there are.
fn points(class: Class, count: u32) -> Vec<u32> {
    let stride = std::env::var("STRIDE").ok().and_then(|s| s.parse().ok());
    let stride = stride.unwrap_or_else(|| count.div_ceil(POINTS)).max(1);
    if stride > 1 {
        say(&format!("{class:?}: every {stride}th of {count} calls (STRIDE=1 tries all)"));
    }
    (1..=count).step_by(stride as usize).collect()
}

fn try_all(script: Script, class: Class) {
    let clean = Round::run(script, None, End::Unmount);
    assert!(clean.wrong.is_empty(), "without a fault: {:#?}", clean.wrong);
    let (while_mounted, count) = clean.counts[&class];
    let mut todo = vec![];
    for n in points(class, count) {
        let mut errors = vec![libc::EIO, libc::ENOSPC];
        if matches!(class, Class::Write | Class::Sync | Class::Open | Class::Size) {
            errors.push(libc::EINTR);
        }
        if class == Class::Write {
            errors.push(0);
        }
        for error in errors {
            for until in [n, u32::MAX] {
                if error == libc::EINTR && until > n {
                    continue; // Nothing can be done about calls that never succeed.
                }
                let killed = n <= while_mounted && todo.len() % 2 == 0;
                let end = if killed { End::Kill } else { End::Unmount };
                todo.push((Fault { class, from: n, until, error }, end));
            }
        }
    }
    rounds(&format!("{script:?}, {class:?}"), script, todo);
}

/// Whichever write to a file of the store fails, or all from it on, with EIO or ENOSPC: the caller gets the
/// errno; nothing acknowledged before or after is lost, live or in versions, after an unmount or a kill;
/// other files are read on; nothing hangs or panics; and where it was for once, writing goes on. A write
/// that is interrupted or short is not noticed.
#[test]
fn any_write_may_fail() {
    try_all(Script::Changes, Class::Write);
}

/// The same of syncs. After one of the log failed, none is said to have succeeded: the store takes no more
/// writes, and its log and status say so.
#[test]
fn any_sync_may_fail() {
    try_all(Script::Changes, Class::Sync);
}

/// The same of opening and creating files.
#[test]
fn any_open_may_fail() {
    try_all(Script::Changes, Class::Open);
}

/// The same of renaming, removing and making files and directories, and of setting a file's size.
#[test]
fn any_change_of_names_may_fail() {
    try_all(Script::Changes, Class::Rename);
    try_all(Script::Changes, Class::Names);
    try_all(Script::Changes, Class::Size);
}

/// The same, whichever call of any class fails while versions are pruned, content is purged and space is given
/// back: nothing of a version that is kept is lost or wrong, one that was to be pruned is whole or gone, what was
/// purged is gone, and doing it again works.
#[test]
fn any_call_may_fail_while_history_is_given_up() {
    Class::ALL.into_iter().for_each(|class| try_all(Script::Retention, class));
}
