//! Set-id bits and capabilities: what is taken from a file when somebody changes it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::*;

/// What the acts of `privileges.py` lead to in a directory.
fn outcome(dir: &Path) -> String {
    let mut program = as_root("python3");
    run(program.args(["-c", include_str!("privileges.py")]).arg(dir)).ok()
}

/// Set-user-id, set-group-id and file capabilities go or stay as on a disk's file system: with writes,
/// truncation, allocation, holes, copies, changes of owner, group and mode, by root, the owner, a member
/// of the group and others; so does what new files inherit from a set-group-id directory.
#[test]
fn set_id_bits_are_cleared_as_on_a_disk() {
    let m = Mount::with(&["--allow-other"]);
    let d = m.dataset("d");
    let plain = m.outside().join("plain");
    fs::create_dir(&plain).expect("mkdir");
    for dir in [m.point().parent().expect("parent"), &m.outside()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let (wanted, got) = (outcome(&plain), outcome(d.root()));
    let differing: Vec<_> = wanted.lines().zip(got.lines()).filter(|(a, b)| a != b).collect();
    assert!(differing.is_empty(), "disk, mount: {differing:#?}");
    assert!(wanted.lines().count() > 600 && wanted.lines().count() == got.lines().count());
}
