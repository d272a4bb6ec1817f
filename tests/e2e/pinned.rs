//! Mounts of one dataset, and of one version.

use std::fs;
use std::path::Path;

use rustix::io::Errno;

use crate::harness::*;

/// `--dataset` mounts one dataset alone at the mountpoint.
#[test]
fn one_dataset_is_mounted_alone() {
    let m = Mount::new();
    m.dataset("d").write("f", "x");
    m.dataset("e").write("g", "y");
    m.down();
    m.up(&["--dataset", "d"]);
    assert_eq!(fs::read_to_string(m.point().join("f")).expect("read"), "x");
    assert!(!m.point().join("g").exists());
    fs::write(m.point().join("f"), "z").expect("write");
    assert_eq!(fs::read_to_string(m.point().join("@v1/f")).expect("read"), "x");
    assert_eq!(fs::read_link(m.point().join("@latest")).expect("readlink"), Path::new("@v2"));
    assert_eq!(m.existing("d").versions(), 2);
}

/// `--dataset --at` mounts one version read-only: the same tree as `@vN`, of small files and large.
#[test]
fn one_version_is_mounted_read_only() {
    let m = Mount::new();
    let d = m.dataset("d");
    sample_tree(&m.outside(), 1, 80);
    fs::write(m.outside().join("large"), noise(2, 20 << 20)).expect("write");
    shell("cp -a \"$1\"/. \"$2\"/", &[m.outside().as_path(), d.root()]);
    let version = format!("v{}", d.versions());
    d.write("large", "replaced");
    m.down();
    m.up(&["--dataset", "d", "--at", &version]);
    for _ in 0..2 {
        assert_same_tree(m.point(), &m.outside());
    }
    refused(fs::write(m.point().join("large"), "x"), Errno::ROFS);
    refused(fs::create_dir(m.point().join("dir")), Errno::ROFS);
    refused(fs::remove_file(m.point().join("empty")), Errno::ROFS);
    shell("cd \"$1\" && ls -lR > /dev/null && tar cf - . > /dev/null", &[m.point()]);
    m.down();
    m.up(&[]);
    assert_eq!(m.existing("d").text("large"), "replaced");
}

/// A version or dataset that does not exist cannot be mounted.
#[test]
fn what_does_not_exist_is_not_mounted() {
    let m = Mount::new();
    m.dataset("d").write("f", "x");
    m.down();
    assert!(m.try_up(&["--dataset", "d", "--at", "v9"]).fails(1).contains("v9"));
    assert!(m.try_up(&["--dataset", "none"]).fails(1).contains("none"));
    assert_eq!(fs::read_dir(m.point()).expect("nothing is mounted").count(), 0);
}
