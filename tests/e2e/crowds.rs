//! Directories of very many files.
//!
//! `CROWD_FILES` files (10,000).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::harness::*;

/// Thousands of files are made in one directory, each a version, listed, looked at, read in
/// versions, renamed across a remount and deleted; the directory is empty then and its versions are not.
#[test]
fn a_directory_holds_very_many_files() {
    let count = std::env::var("CROWD_FILES").map_or(10_000, |n| n.parse().expect("CROWD_FILES is a number"));
    let m = Mount::unmounted_for(std::time::Duration::from_secs(300 + count / 100));
    m.up(&[]);
    let d = m.dataset("d");
    d.mkdir("crowd");
    let name = |n: u64| format!("{n:07}-{}", "x".repeat(n as usize % 60));
    for n in 0..count {
        d.write(&format!("crowd/{}", name(n)), n.to_string());
    }
    assert_eq!(d.versions(), count + 1);
    let wanted: BTreeSet<String> = (0..count).map(name).collect();
    let listed = |d: &Dataset<'_>, path: &str| -> BTreeSet<String> { d.list(path).into_iter().collect() };
    assert!(listed(&d, "crowd") == wanted);
    for n in 0..count {
        let meta = d.path(&format!("crowd/{}", name(n))).symlink_metadata().expect("stat");
        assert_eq!((meta.len(), meta.nlink()), (n.to_string().len() as u64, 1));
    }
    assert_eq!(d.list("@v2/crowd"), [name(0)]);
    let half = count / 2;
    let at_half = listed(&d, &format!("@v{}/crowd", half + 1));
    assert!(at_half == (0..half).map(name).collect());
    m.down();
    m.up(&[]);
    let d = m.existing("d");
    assert!(listed(&d, "crowd") == wanted, "after a remount");
    assert_eq!(d.text(&format!("crowd/{}", name(count - 1))), (count - 1).to_string());
    fs::rename(d.path("crowd"), d.path("moved")).expect("rename the directory");
    for n in 0..count {
        fs::remove_file(d.path(&format!("moved/{}", name(n)))).expect("unlink");
    }
    fs::remove_dir(d.path("moved")).expect("the directory is empty");
    assert_eq!(d.versions(), 2 * count + 3);
    assert!(listed(&d, &format!("@v{}/crowd", count + 1)) == wanted);
    assert_eq!(d.text(&format!("@v{}/moved/{}", count + 2, name(7))), "7");
}
