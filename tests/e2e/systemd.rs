//! The units and the fstab that come with strata, at work under a real systemd in namespaces of its own.

use std::fs;
use std::path::Path;

use crate::harness::*;

/// Exit code of `boot.sh` where no systemd can be run.
const CANNOT: i32 = 77;

/// A file that comes with strata for systemd.
fn example(name: &str) -> String {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/packaging");
    fs::read_to_string(packaging.join(name)).expect("read an example")
}

/// Puts files below `etc`, boots with `unit` enabled, runs the script, shuts down, and gives what the script printed;
/// nothing, having said so, where no systemd can be run.
#[track_caller]
fn booted(m: &Mount, what: &str, etc: &[(&str, &str)], unit: &str, script: &str) -> Option<String> {
    let dir = m.outside().join("machine");
    fs::create_dir_all(dir.join("srv")).expect("make /srv");
    for (name, text) in etc {
        let path = dir.join("etc").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
        fs::write(path, text).expect("write a file of /etc");
    }
    let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/systemd/boot.sh");
    let mut command = as_root("sh");
    let ran = run(command.arg(boot).arg(binary()).arg(dir).args([unit, script]));
    if ran.code == Some(CANNOT) {
        skipped(&format!("systemd::{what}"), ran.stderr.trim());
        return None;
    }
    Some(ran.ok())
}

/// Asserts that a daemon ended in order, with all written, when systemd shut down, and that the store is whole.
#[track_caller]
fn ended_in_order(m: &Mount, name: &str) {
    let store = m.outside().join("machine/srv").join(name);
    let log = run(as_root("cat").arg(store.join("daemon.log"))).ok();
    assert!(log.trim_end().ends_with("unmounted"), "{log}");
    let verify = "\"$1\" --store \"$2\" verify";
    run(as_root("sh").args(["-c", verify, "sh"]).arg(binary()).arg(store)).ok();
}

/// The service mounts at start-up and unmounts at shutdown; what was written is there after a restart, and after the
/// daemon was killed, which has it started again. Unmounting by hand stops it. Why one cannot start is in the journal.
#[test]
fn the_service_mounts_a_store() {
    let m = Mount::unmounted();
    let conf = |point: &str, options: &str| {
        format!("STORE=/srv/store\nMOUNTPOINT=/mnt/{point}\nOPTIONS={options}\n")
    };
    let etc = [
        ("systemd/system/strata@.service", &*example("strata@.service")),
        ("strata/data.conf", &conf("data", "--allow-other")),
        ("strata/nowhere.conf", &conf("nowhere", "--allow-other")),
        ("strata/odd.conf", &conf("data", "--frobnicate")),
    ];
    let script = "
        of() { systemctl show --value -p $1 strata@$2; }
        is() { until [ $(of ActiveState $1) = $2 ]; do sleep 0.02; done; }
        of ActiveState data
        mkdir /mnt/data/pets
        echo meow >/mnt/data/pets/cat
        systemctl restart strata@data
        cat /mnt/data/pets/cat
        daemon=$(of MainPID data)
        kill -KILL $daemon
        until [ $(of NRestarts data) = 1 ]; do sleep 0.02; done
        is data active
        [ $(of MainPID data) != $daemon ]
        cat /mnt/data/pets/@v1/cat
        systemctl restart strata@data
        strata umount /mnt/data
        is data inactive
        of Result data
        ! findmnt /mnt/data
        for bad in nowhere odd; do
            ! systemctl start strata@$bad 2>/dev/null
            of ActiveState $bad
        done
        journalctl -q -o cat -t strata -p 6 | grep -E 'does not exist|frobnicate. found'
        systemctl start strata@data
        echo hiss >/mnt/data/pets/cat
    ";
    let Some(printed) = booted(&m, "the_service_mounts_a_store", &etc, "strata@data", script) else { return };
    let lines: Vec<&str> = printed.lines().collect();
    let told = [
        "strata: the mountpoint /mnt/nowhere does not exist",
        "error: unexpected argument '--frobnicate' found",
    ];
    assert_eq!(lines, [&["active", "meow", "meow", "success", "failed", "failed"], &told[..]].concat());
    ended_in_order(&m, "store");
}

/// The lines of the example fstab are mounted: at start-up, and when somebody first looks. They, and the unit for one,
/// can be stopped and started; an unmount by systemd leaves nothing behind.
#[test]
fn the_fstab_and_the_unit_mount_a_store() {
    let m = Mount::unmounted();
    let pets = m.outside().join("machine/srv/store2");
    fs::create_dir_all(&pets).expect("make a directory");
    fs::create_dir(m.outside().join("pets")).expect("make a directory");
    fs::write(m.outside().join("pets/cat"), "purr\n").expect("write");
    let m = m.store_at(pets);
    m.strata(&["init"]).ok();
    m.strata(&["import", m.outside().join("pets").to_str().expect("a path"), "pets"]).ok();
    let etc = [("fstab", &*example("fstab")), ("units/mnt-data.mount", &*example("mnt-data.mount"))];
    let script = "
        of() { systemctl show --value -p $1 $2; }
        gone() { while [ -S /srv/$1/control.sock ]; do sleep 0.02; done; }
        of ActiveState mnt-data.mount
        mkdir /mnt/data/dogs
        echo woof >/mnt/data/dogs/rex
        systemctl restart mnt-data.mount
        cat /mnt/data/dogs/rex

        of SubState mnt-pets.automount
        cat /mnt/pets/cat
        of ActiveState mnt-pets.mount
        systemctl stop mnt-pets.mount
        gone store2
        of SubState mnt-pets.automount
        cat /mnt/pets/cat

        systemctl stop mnt-data.mount
        gone store
        cp /etc/units/mnt-data.mount /etc/systemd/system
        : >/etc/fstab
        systemctl daemon-reload
        systemctl --quiet enable --now mnt-data.mount
        of FragmentPath mnt-data.mount
        cat /mnt/data/dogs/rex
        kill -KILL $(strata --store /srv/store status --json | grep -o '\"pid\":[0-9]*' | cut -d : -f 2)
        systemctl restart mnt-data.mount
        cat /mnt/data/dogs/@v1/rex
        systemctl stop mnt-data.mount
        gone store
        mv /srv/store /srv/elsewhere
        : >/srv/store
        systemctl start mnt-data.mount 2>/dev/null || of Result mnt-data.mount
        rm /srv/store
        mv /srv/elsewhere /srv/store
        systemctl start mnt-data.mount
        cat /mnt/data/dogs/rex
    ";
    let Some(printed) = booted(&m, "the_fstab_and_the_unit_mount_a_store", &etc, "", script) else { return };
    let wanted = [
        ["active", "woof"].as_slice(),
        &["waiting", "purr", "active", "waiting", "purr"],
        &["/etc/systemd/system/mnt-data.mount", "woof", "woof", "exit-code", "woof"],
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), wanted.concat());
    ended_in_order(&m, "store");
    ended_in_order(&m, "store2");
}
