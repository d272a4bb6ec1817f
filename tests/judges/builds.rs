//! Building programs in the mount.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::command::Ran;
use crate::harness::*;

fn cargo(dir: &Path, arguments: &[&str]) -> Ran {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["--offline", "--color=never"]).args(arguments).current_dir(dir);
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") || name.contains("RUSTFLAGS"))
    {
        if name != "CARGO_HOME" {
            cargo.env_remove(name);
        }
    }
    let ran = run(&mut cargo);
    assert_eq!(ran.code, Some(0), "cargo {arguments:?}: {}", ran.stderr);
    ran
}

/// cargo builds a crate with a build script and a library in the mount, builds anew what changed and
/// nothing else, and runs its tests; what was built runs from a version as it was.
#[test]
fn cargo_builds_in_the_mount() {
    let m = Mount::new();
    let d = m.dataset("d");
    let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n\
        [dependencies]\npart = { path = \"part\" }\n\n[workspace]\n";
    let library = "//! A part.\n\n/// A number.\npub fn number() -> u32 {\n    1\n}\n\n\
        #[test]\nfn it_is_one() {\n    assert_eq!(number(), 1);\n}\n";
    for dir in ["small", "small/src", "small/part", "small/part/src"] {
        d.mkdir(dir);
    }
    d.write("small/Cargo.toml", manifest);
    d.write("small/part/Cargo.toml", "[package]\nname = \"part\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    d.write("small/part/src/lib.rs", library);
    d.write("small/build.rs", "fn main() {\n    println!(\"cargo::rustc-env=BUILT=yes\");\n}\n");
    d.write(
        "small/src/main.rs",
        "fn main() {\n    println!(\"{} {}\", part::number(), env!(\"BUILT\"));\n}\n",
    );
    let (root, program) = (d.path("small"), "small/target/debug/small");
    let compiled = |ran: &Ran| ran.stderr.lines().filter(|line| line.contains("Compiling")).count();
    assert_eq!(compiled(&cargo(&root, &["build"])), 2);
    assert_eq!(run(&mut Command::new(d.path(program))).ok(), "1 yes\n");
    let built = d.versions();
    assert_eq!(compiled(&cargo(&root, &["build"])), 0, "nothing changed, nothing is built");
    d.write("small/src/main.rs", "fn main() {\n    println!(\"{}\", part::number() + 1);\n}\n");
    assert_eq!(compiled(&cargo(&root, &["build"])), 1, "one of two changed");
    assert_eq!(run(&mut Command::new(d.path(program))).ok(), "2\n");
    assert!(cargo(&root, &["test", "-p", "part"]).text().contains("1 passed"));
    let old = d.path(&format!("@v{built}/{program}"));
    assert_eq!(run(&mut Command::new(old)).ok(), "1 yes\n", "a program of a version runs");
    assert!(fs::read(d.path(program)).expect("read") != d.bytes(&format!("@v{built}/{program}")));
}
