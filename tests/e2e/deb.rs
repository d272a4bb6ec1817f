//! The package for Debian: what is in it, and that it is of use once unpacked.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::*;

/// The package has program, manual, completions, mount helper and examples, asks for FUSE, and is the same each
/// time it is built.
#[test]
fn the_package_has_all_that_belongs_to_it() {
    let m = Mount::unmounted();
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let build = |name: &str| {
        let output = m.outside().join(name);
        let mut command = Command::new(project.join("scripts/deb"));
        let said = run(command.arg("--binary").arg(binary()).arg("--output").arg(&output)).ok();
        let package = said.trim().to_owned();
        assert!(Path::new(&package).starts_with(&output), "{package}");
        package
    };
    let package = build("one");
    let control = tool("dpkg-deb", &["--field", &package]);
    let version = env!("CARGO_PKG_VERSION");
    for line in ["Package: strata\n", &format!("Version: {version}\n"), "Depends: fuse3, libc6 (>= 2."] {
        assert!(control.contains(line), "{line}: {control}");
    }
    let list = tool("dpkg-deb", &["--contents", &package]);
    assert!(list.lines().all(|line| line.contains(" root/root ")), "all belongs to root: {list}");
    assert!(list.contains("./usr/sbin/mount.fuse.strata -> ../bin/strata"), "{list}");

    let root = m.outside().join("root");
    tool("dpkg-deb", &["--extract", &package, root.to_str().expect("path")]);
    let program = root.join("usr/bin/strata");
    assert_eq!(run(Command::new(&program).arg("--version")).ok(), format!("strata {version}\n"));
    let manual = fs::read_dir(project.join("man")).expect("list the manual").count();
    let pages = tool("find", &[root.join("usr/share/man").to_str().expect("path"), "-name", "*.gz"]);
    assert_eq!(pages.lines().count(), manual, "{pages}");
    tool("gzip", &["-t", root.join("usr/share/man/man1/strata-mount.1.gz").to_str().expect("path")]);
    for (shell, place) in [
        ("bash", "bash-completion/completions/strata"),
        ("zsh", "zsh/vendor-completions/_strata"),
        ("fish", "fish/vendor_completions.d/strata.fish"),
    ] {
        let script = fs::read_to_string(root.join("usr/share").join(place)).expect("read a completion");
        assert_eq!(script, m.strata(&["completions", shell]).ok(), "{shell}");
    }
    let mut sums = Command::new("sh");
    let check = "dpkg-deb --control \"$1\" \"$2/control\" && cd \"$2\" && md5sum --quiet -c control/md5sums";
    run(sums.args(["-euc", check, "sh", &package]).arg(&root)).ok();

    // The helper of the package mounts, as mount(8) would call it.
    let mut helper = Command::new(root.join("usr/sbin/mount.fuse.strata"));
    run(helper.arg(m.store()).arg(m.point()).args(["-o", "rw,noauto"])).ok();
    m.adopt(m.status()["pid"].as_i64().expect("a pid") as i32);
    m.dataset("d").write("f", "x");

    let again = build("two");
    assert!(fs::read(package).expect("read") == fs::read(again).expect("read"), "the same each time");
}

/// What the script cannot do it says.
#[test]
fn a_package_without_a_program_is_refused() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deb");
    let refused = run(Command::new(&script).args(["--binary", "/no/such/program"])).fails(1);
    assert!(refused.contains("/no/such/program is no program"), "{refused}");
    assert!(run(Command::new(&script).arg("--frobnicate")).fails(2).contains("scripts/deb"));
}
