//! Times, to the nanosecond.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use rustix::fs::{AtFlags, CWD, StatxFlags, Timespec, Timestamps, statx, utimensat};

use crate::harness::*;

type Moment = (i64, u32);

/// Last access and change of content of what is at `path`, as statx(2) gives them.
fn times(d: &Dataset<'_>, path: &str) -> (Moment, Moment) {
    let all = StatxFlags::BASIC_STATS;
    let got = statx(CWD, d.path(path), AtFlags::SYMLINK_NOFOLLOW, all).expect("statx");
    assert!(got.stx_mask & all.bits() == all.bits(), "statx gives all of stat");
    let moment = |t: rustix::fs::StatxTimestamp| (t.tv_sec, t.tv_nsec);
    (moment(got.stx_atime), moment(got.stx_mtime))
}

/// Times set to the nanosecond, before 1970 too, are kept of files, directories, symlinks and fifos:
/// live, in the version, and after a remount.
#[test]
fn nanoseconds_are_kept() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("file", "x");
    d.mkdir("dir");
    symlink("nowhere", d.path("link")).expect("symlink");
    tool("mkfifo", &[d.path("fifo")]);
    let moments: [Moment; 4] =
        [(1_700_000_000, 1), (1_700_000_000, 999_999_999), (-1, 999_999_998), (-1_000_000_000, 500_000_001)];
    let mut wanted = BTreeMap::new();
    for (n, path) in ["file", "dir", "link", "fifo"].into_iter().enumerate() {
        let (atime, mtime) = (moments[n], moments[(n + 1) % 4]);
        let spec = |(tv_sec, tv_nsec): Moment| Timespec { tv_sec, tv_nsec: tv_nsec.into() };
        let both = Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
        utimensat(CWD, d.path(path), &both, AtFlags::SYMLINK_NOFOLLOW).expect("utimensat");
        wanted.insert(path, (atime, mtime));
    }
    let version = d.versions();
    for again in [false, true] {
        if again {
            m.down();
            m.up(&[]);
        }
        let d = m.existing("d");
        for (path, both) in &wanted {
            assert_eq!(times(&d, path), *both, "{path}");
            assert_eq!(times(&d, &format!("@v{version}/{path}")), *both, "{path} in the version");
        }
    }
    // What is out of reach is kept as the nearest there is, and harms nothing.
    let ends = [(i64::MIN, i64::MIN), (i64::MIN + 1, i64::MIN), (i64::MAX, i64::MAX)];
    for (seconds, nearest) in ends {
        let time = Timespec { tv_sec: seconds, tv_nsec: 5 };
        let both = Timestamps { last_access: time, last_modification: time };
        let d = m.existing("d");
        utimensat(CWD, d.path("file"), &both, AtFlags::empty()).expect("utimensat");
        let nearest = (nearest.div_euclid(1_000_000_000), nearest.rem_euclid(1_000_000_000) as u32);
        assert_eq!(times(&d, "file"), (nearest, nearest));
    }
    // Reading sets no time; touching one leaves the other.
    assert_eq!(fs::read(m.existing("d").path("file")).expect("read"), b"x");
    tool(
        "touch",
        &["-m".as_ref(), "-d".as_ref(), "@5.000000007".as_ref(), m.existing("d").path("file").as_os_str()],
    );
    assert_eq!(times(&m.existing("d"), "file"), ((9_223_372_036, 854_775_807), (5, 7)));
}

/// Files written one right after the other have times in that order, the same in their versions.
#[test]
fn quick_writes_have_times_in_their_order() {
    let m = Mount::new();
    let d = m.dataset("d");
    let names: Vec<String> = (0..200).map(|n| format!("f{n}")).collect();
    names.iter().for_each(|name| d.write(name, name));
    let stamps = |root: &str| -> Vec<(i64, i64)> {
        let stat = |name: &String| d.path(&format!("{root}{name}")).metadata().expect("stat");
        names.iter().map(|name| (stat(name).mtime(), stat(name).mtime_nsec())).collect()
    };
    let live = stamps("");
    assert!(live.is_sorted() && live.first() < live.last(), "{live:?}");
    let distinct: std::collections::BTreeSet<_> = live.iter().collect();
    assert!(distinct.len() > 190, "200 writes have {} different times", distinct.len());
    assert_eq!(stamps("@latest/"), live);
    let before = live[7];
    d.write("f7", "again");
    assert!(stamps("")[7] > before, "a write moves the time on");
    assert_eq!(stamps("@v200/")[7], before);
}
