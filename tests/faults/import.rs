//! A disk that fails while a directory is imported.

use std::fs;

use crate::harness::command::run;
use crate::harness::{assert_same_facts, facts, sample_tree};

use super::rig::{Rig, say};
use super::shim::{Class, Fault};

/// Most points of a kind that are tried.
const POINTS: u32 = 8;

/// Whichever write, sync or opening of a file of the store fails, once or from then on: the command says so and
/// the dataset is as it was (or, where only making it durable failed, perhaps all is there), or it does not and
/// all is there; so it is after a remount, and the import can be made then.
#[test]
fn an_import_that_fails_changes_nothing() {
    for class in [Class::Write, Class::Sync, Class::Open] {
        let (mut failed, mut taken) = (0, 0);
        let calls = attempt(Fault { class, from: u32::MAX, until: u32::MAX, error: libc::EIO }).0;
        let step = calls.div_ceil(POINTS).max(1) as usize;
        for (turn, n) in (1..=calls).step_by(step).enumerate() {
            let error = if turn % 2 == 0 { libc::EIO } else { libc::ENOSPC };
            let until = if turn % 3 == 0 { u32::MAX } else { n };
            match attempt(Fault { class, from: n, until, error }).1 {
                true => taken += 1,
                false => failed += 1,
            }
        }
        say(&format!("import, {class:?}: {calls} calls; {failed} imports failed, {taken} did not"));
        assert!(failed + taken > 0, "{class:?}: nothing was tried");
    }
}

/// Imports with a fault; gives the number of calls of its kind and whether the import succeeded.
fn attempt(fault: Fault) -> (u32, bool) {
    let rig = Rig::new(false);
    rig.up(&[]).ok();
    let root = rig.mount.point().join("d");
    sample_tree(&root, 2, 10);
    run(&mut rig.command(&["commit", "d"])).ok();
    let source = rig.mount.outside().join("source");
    sample_tree(&source, 1, 60);
    let before = facts(&root);
    let import = || run(rig.command(&["import", "--delete"]).arg(&source).arg("d"));
    rig.shim.arm(fault);
    let ran = import();
    let calls = rig.shim.count(fault.class);
    rig.shim.disarm();
    let taken = ran.code == Some(0);
    assert!(taken || ran.stderr.starts_with("strata: "), "{}", ran.stderr);
    let is_as_wanted = || match facts(&root) {
        found if taken || found != before => assert_same_facts(&found, &facts(&source)),
        _ => {}
    };
    is_as_wanted();
    run(rig.command(&["umount"]).arg(rig.mount.point()));
    rig.mount.gone();
    rig.up(&[]).ok();
    is_as_wanted();
    import().ok();
    assert_same_facts(&facts(&root), &facts(&source));
    run(&mut rig.command(&["verify"])).ok();
    assert!(fs::metadata(root.join("script")).is_ok());
    rig.mount.down();
    (calls, taken)
}
