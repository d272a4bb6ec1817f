//! Mounting by mount(8), from fstab(5), and by systemd.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::*;

/// Runs a script as root in a mount namespace of its own, where `mount.fuse.strata` is installed or not; what it
/// mounts ends with it. `$1` is the store, `$2` the mountpoint, `$3` an fstab.
fn in_namespace(m: &Mount, installed: bool, fstab: &str, script: &str) -> Ran {
    let bin = m.outside().join("bin");
    fs::create_dir_all(&bin).expect("make a directory");
    for name in ["strata", "mount.fuse.strata"] {
        let link = bin.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(binary(), link).expect("make a link");
        }
    }
    let table = m.outside().join("fstab");
    fs::write(&table, fstab).expect("write an fstab");
    // mount(8) looks for helpers in /usr/sbin alone, and mount.fuse3 for programs in the system's directories.
    let place = if installed { "/usr/sbin" } else { "/usr/bin" };
    let install = format!("mount -t overlay -o lowerdir=$(dirname \"$3\")/bin:{place} overlay {place}; ");
    let script = format!("{install}{script}");
    let mut command = as_root("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", &script, "sh"]);
    run(command.arg(m.store()).arg(m.point()).arg(table))
}

/// A line of the type `fuse.strata` is mounted by mount(8), with the helper installed and by way of mount.fuse3
/// alone, and unmounted by umount(8); what was written is there the next time. `mount -a` sees what is mounted.
#[test]
fn a_line_of_fstab_is_mounted() {
    for installed in [true, false] {
        let m = Mount::unmounted();
        let (store, point) = (m.store().display().to_string(), m.point().display().to_string());
        let fstab = format!(
            "strata:{store} {point} fuse.strata allow_other,noauto,user,_netdev,x-systemd.automount 0 0\n"
        );
        let ran = in_namespace(
            &m,
            installed,
            &fstab,
            "mount -T \"$3\" \"$2\"; mkdir \"$2/pets\"; echo meow > \"$2/pets/cat\"; findmnt -no SOURCE \"$2\"; \
             findmnt -no OPTIONS \"$2\" | tr , '\\n' | grep noexec; umount \"$2\"; \
             while [ -S \"$1/control.sock\" ]; do sleep 0.05; done; sed -i s/noauto,// \"$3\"; \
             mount -a -T \"$3\"; mount -a -T \"$3\"; cat \"$2/pets/@v1/cat\"; umount \"$2\"; \
             while [ -S \"$1/control.sock\" ]; do sleep 0.05; done",
        );
        assert_eq!(ran.ok(), format!("strata:{store}\nnoexec\nmeow\n"), "helper installed: {installed}");
    }
}

/// Options choose dataset, version and whether anything can be changed; one that is unknown is refused by name.
#[test]
fn options_of_fstab_mean_what_those_of_mount_do() {
    let m = Mount::new();
    let d = m.dataset("pets");
    d.write("f", "1");
    d.write("f", "2");
    m.down();
    let (store, point) = (m.store().display().to_string(), m.point().display().to_string());
    let line = |options: &str| format!("{store} {point} fuse.strata {options} 0 0\n");
    let look = "mount -T \"$3\" \"$2\"; cat \"$2/f\"; echo; (echo x > \"$2/f\") 2>/dev/null || echo refused; \
                umount \"$2\"; while [ -S \"$1/control.sock\" ]; do sleep 0.05; done";
    assert_eq!(in_namespace(&m, true, &line("dataset=pets,at=v1"), look).ok(), "1\nrefused\n");
    assert_eq!(in_namespace(&m, true, &line("dataset=pets,ro,sync=always"), look).ok(), "2\nrefused\n");
    let refused = in_namespace(&m, true, &line("frobnicate"), look);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("unknown option frobnicate"), "{}", refused.stderr);
    let unknown = in_namespace(&m, true, &line("dataset=none"), look);
    assert!(unknown.code != Some(0) && unknown.stderr.contains("none"), "{}", unknown.stderr);
}

/// The examples that come with strata are lines that mount(8) and units that systemd understand, and the options of
/// the fstab are ones that the helper takes.
#[test]
fn the_examples_are_valid() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/packaging");
    let m = Mount::unmounted();
    let root = m.outside().join("root");
    for dir in ["usr/bin", "etc/systemd/system", "srv/store", "mnt/data"] {
        fs::create_dir_all(root.join(dir)).expect("make a directory");
    }
    // systemd looks whether what a unit runs is there.
    fs::copy(binary(), root.join("usr/bin/strata")).expect("copy the program");
    for (example, unit) in [("strata@.service", "strata@data.service"), ("mnt-data.mount", "mnt-data.mount")]
    {
        let path = root.join("etc/systemd/system").join(unit);
        fs::copy(packaging.join(example), &path).expect("copy a unit");
        let mut verify = Command::new("systemd-analyze");
        let ran =
            run(verify.args(["verify", "--man=no", "--recursive-errors=no", "--root"]).arg(&root).arg(&path));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{example}");
    }
    let fstab = fs::read_to_string(packaging.join("fstab")).expect("read the example");
    let lines = fstab.lines().filter(|line| !line.starts_with('#'));
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 2);
    let helper = m.outside().join("mount.fuse.strata");
    std::os::unix::fs::symlink(binary(), &helper).expect("make a link");
    for fields in lines {
        let [store, point, kind, options, ..] = fields[..] else { panic!("{fields:?}") };
        assert_eq!(kind, "fuse.strata");
        run(Command::new(&helper).args([store, point, "-f", "-o", options])).ok();
    }
}
