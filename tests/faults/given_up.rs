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
