//! Writes that the store could not keep.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;

use crate::harness::command::run;
use crate::harness::{noise, poll};

use super::rig::Rig;
use super::shim::{Class, Fault};

/// What was written and could not be kept, its writer being told so, is not read again from any cache: the
/// file has the bytes and the size of its last close, by its name and through handles that were open all
/// the while, before and after the store is mounted anew; and once the disk is well, writing goes on.
#[test]
fn what_could_not_be_kept_is_not_read_again() {
    let old = noise(8, 10_000);
    for policy in ["every-write", "settle=1h"] {
        for len in [10_000, 4_000, 30_000] {
            let rig = Rig::new(false);
            rig.up(&[]).ok();
            let dataset = rig.mount.point().join("s");
            fs::create_dir(&dataset).expect("make a dataset");
            run(&mut rig.command(&["set", "s", &format!("policy={policy}")])).ok();
            let path = dataset.join("one");
            fs::write(&path, &old).expect("write");
            assert!(fs::read(&path).expect("read") == old);
            let reader = File::open(&path).expect("open");

            rig.shim.only("store/packs");
            rig.shim.arm(Fault { class: Class::Write, from: 1, until: u32::MAX, error: libc::EIO });
            let mut file = OpenOptions::new().write(true).truncate(true).open(&path).expect("open");
            file.write_all(&noise(9, len)).expect("written to the working copy");
            assert!(fs::read(&path).expect("read") == noise(9, len), "what is written is seen at once");
            let told = file.sync_all().expect_err("it cannot be kept");
            assert_eq!(told.raw_os_error(), Some(libc::EIO));
            drop(file);

            let case = format!("policy={policy}, {len} bytes");
            poll(&format!("the file is as it was: {case}"), || fs::read(&path).expect("read") == old);
            assert_eq!(fs::metadata(&path).expect("stat").len(), old.len() as u64, "{case}");
            let mut through_handle = vec![0; old.len() + 1];
            let count = reader.read_at(&mut through_handle, 0).expect("read");
            assert!(through_handle[..count] == old, "{case}");
            drop(reader);
            rig.shim.disarm();

            run(rig.command(&["umount"]).arg(rig.mount.point())).ok();
            rig.up(&[]).ok();
            assert!(fs::read(&path).expect("read") == old, "{case}, mounted anew");
            fs::write(&path, noise(10, len)).expect("writing goes on");
            run(&mut rig.command(&["commit", "s"])).ok();
            assert!(fs::read(dataset.join("@latest/one")).expect("read") == noise(10, len), "{case}");
            rig.mount.down();
        }
    }
}

/// A rollback that cannot be made durable fails, and the tree that is there then is seen through every cache:
/// by names that were looked up, open handles, and file pages that were read before.
#[test]
fn a_rollback_that_cannot_be_synced_is_seen_as_it_is() {
    let rig = Rig::new(false);
    rig.up(&[]).ok();
    let dataset = rig.mount.point().join("d");
    fs::create_dir(&dataset).expect("make a dataset");
    let (edited, removed, added) = (dataset.join("edited"), dataset.join("removed"), dataset.join("added"));
    fs::write(&edited, noise(1, 20_000)).expect("write");
    fs::write(&removed, "here").expect("write");
    run(&mut rig.command(&["tag", "d", "before"])).ok();
    fs::write(&edited, noise(2, 30_000)).expect("write");
    fs::remove_file(&removed).expect("remove");
    fs::write(&added, "new").expect("write");
    run(&mut rig.command(&["commit", "d"])).ok();
    assert!(fs::read(&edited).expect("read") == noise(2, 30_000) && added.exists() && !removed.exists());
    let reader = File::open(&edited).expect("open");

    rig.shim.only("store/packs");
    rig.shim.arm(Fault { class: Class::Sync, from: 1, until: u32::MAX, error: libc::EIO });
    assert_eq!(run(&mut rig.command(&["rollback", "d", "before"])).code, Some(1));
    assert!(fs::read(&edited).expect("read") == noise(1, 20_000));
    let mut through_handle = vec![0; 30_001];
    let count = reader.read_at(&mut through_handle, 0).expect("read");
    assert!(through_handle[..count] == noise(1, 20_000));
    assert!(!added.exists() && fs::read(&removed).expect("read") == b"here");
    drop(reader);
    rig.shim.disarm();
    rig.mount.kill();
    rig.up(&[]).ok();
    assert!(fs::read(&edited).expect("read") == noise(1, 20_000), "opening writes what was not synced again");
    rig.mount.down();
}

/// The same of an import: what it put in is seen where it could not be synced.
#[test]
fn an_import_that_cannot_be_synced_is_seen_as_it_is() {
    let rig = Rig::new(false);
    rig.up(&[]).ok();
    let (dataset, source) = (rig.mount.point().join("d"), rig.mount.outside());
    fs::create_dir(&dataset).expect("make a dataset");
    let path = dataset.join("file");
    fs::write(&path, noise(1, 20_000)).expect("write");
    run(&mut rig.command(&["commit", "d"])).ok();
    assert!(fs::read(&path).expect("read") == noise(1, 20_000));
    fs::write(source.join("file"), noise(2, 20_000)).expect("write");

    rig.shim.only("store/packs");
    rig.shim.arm(Fault { class: Class::Sync, from: 1, until: u32::MAX, error: libc::EIO });
    let source = source.to_str().expect("text");
    assert_eq!(run(&mut rig.command(&["import", source, "d"])).code, Some(1));
    assert!(fs::read(&path).expect("read") == noise(2, 20_000));
    rig.shim.disarm();
    rig.mount.kill();
    rig.up(&[]).ok();
    assert!(fs::read(&path).expect("read") == noise(2, 20_000));
    rig.mount.down();
}
