//! Writes that are to be durable when they return: O_SYNC, O_DSYNC and RWF_DSYNC, through the kernel's cache and
//! past it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::io::{ReadWriteFlags, pwritev2};

use super::rig::Rig;
use super::shim::{Class, Fault};

type Writes = fn(&mut File, &[u8]) -> io::Result<()>;

fn plain(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)
}

fn dsync(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    pwritev2(&*file, &[IoSlice::new(bytes)], 0, ReadWriteFlags::DSYNC)?;
    Ok(())
}

/// Where the disk cannot sync, they fail, and others do not.
#[test]
fn synchronous_writes_wait_for_the_disk() {
    let cases: [(&str, i32, Writes, bool); 4] = [
        ("O_SYNC", libc::O_SYNC, plain, true),
        ("O_DSYNC", libc::O_DSYNC, plain, true),
        ("RWF_DSYNC", 0, dsync, true),
        ("neither", 0, plain, false),
    ];
    for (what, flags, write, waits) in cases {
        for reads in [false, true] {
            for made_before in [false, true] {
                let what = format!("{what}, read too: {reads}, made before: {made_before}");
                let rig = Rig::new(false);
                rig.up(&[]).ok();
                let root = rig.mount.point().join("d");
                fs::create_dir(&root).expect("make a dataset");
                let path = root.join("f");
                if made_before {
                    fs::write(&path, "what was there").expect("write");
                }
                let open = || {
                    OpenOptions::new().read(reads).write(true).create(true).custom_flags(flags).open(&path)
                };
                write(&mut open().expect("open"), b"some bytes").unwrap_or_else(|e| panic!("{what}: {e}"));

                let mut file = open().expect("open");
                // Nothing is left that the daemon would sync by itself just then.
                file.sync_all().expect("sync");
                rig.shim.only("store/packs");
                rig.shim.arm(Fault { class: Class::Sync, from: 1, until: u32::MAX, error: libc::EIO });
                let written = write(&mut file, b"others");
                match waits {
                    true => assert_eq!(written.expect_err(&what).raw_os_error(), Some(libc::EIO), "{what}"),
                    false => written.expect(&what),
                }
                rig.shim.disarm();
                drop(file);
                rig.mount.kill();
            }
        }
    }
}
