//! What people write: names with `@`, arguments of commands; and the table of mounts, which has paths that
//! anybody chose.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::Parser;
use stratafs::cli::Cli;
use stratafs::daemon::object::{VersionText, parse_path, path_bytes};
use stratafs::daemon::{ObjectSpec, mounts, policy};
use stratafs::model::name::NAME_MAX;
use stratafs::model::{AtName, DatasetName, Name, NameKey, Timestamp, VersionSpec};

use super::input::Input;

/// A name with `@`, or what a command takes in its place; names of files and datasets; times.
pub fn at_path(bytes: &[u8]) {
    if let Some(at) = AtName::parse(bytes) {
        if let Some(shown) = show_at(&at) {
            assert_eq!(AtName::parse(shown.as_bytes()), Some(at), "{shown}");
        }
        assert!(Name::new(bytes).is_ok() || bytes.len() > NAME_MAX);
        assert!(DatasetName::new(bytes).is_err(), "a dataset's name could mean a version");
    }
    if let Some(spec) = AtName::parse_tag(bytes) {
        assert_eq!(AtName::parse(bytes), None, "a tag that means something else");
        assert_eq!(AtName::parse_tag(format!("@{}", show(&spec)).as_bytes()), Some(spec));
    }
    names(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Some(spec) = VersionSpec::parse(text) {
            let shown = show(&spec);
            assert_eq!(VersionSpec::parse(&shown), Some(spec.clone()), "{text}: {shown}");
            let version = VersionText::parse(text).expect("what is a version");
            assert_eq!(version.spec(), Some(spec));
            let wire = serde_json::to_vec(&version).expect("encode");
            assert_eq!(serde_json::from_slice::<VersionText>(&wire).expect("decode"), version);
        }
        if let Ok(version) = VersionText::parse(text) {
            assert!(version.spec().is_some(), "a version that means nothing");
        }
    }
    let time = Timestamp(Input(bytes).u64() as i64);
    let (seconds, nanos) = time.parts();
    assert_eq!(Timestamp::from_parts(seconds, nanos), time);
    // What commands print of a time names that second, but for the last, which i64 does not reach the end of.
    if let Some(end) = seconds.checked_mul(1_000_000_000).and_then(|start| start.checked_add(999_999_999)) {
        assert_eq!(VersionSpec::parse(&time.to_string()), Some(VersionSpec::Time(Timestamp(end))));
    }
}

fn names(bytes: &[u8]) {
    if let Ok(name) = Name::new(bytes) {
        assert_eq!(name.as_bytes(), bytes);
        assert!(!bytes.contains(&b'/') && (1..=NAME_MAX).contains(&bytes.len()));
        let position = name.key().position();
        assert!(position >= 3 && NameKey::before(position).is_none_or(|before| before <= name.key()));
    }
    if let Ok(name) = DatasetName::new(bytes) {
        assert!(Name::new(bytes).is_ok() && AtName::parse(bytes).is_none());
        assert_eq!(name.as_str().as_bytes(), bytes);
    }
}

fn show_at(at: &AtName) -> Option<String> {
    Some(match at {
        AtName::Version(spec) => format!("@{}", show(spec)),
        AtName::Latest => "@latest".into(),
        AtName::Prev => "@prev".into(),
        AtName::History => "@history".into(),
        AtName::Hash => "@hash".into(),
        AtName::File => "@file".into(),
        AtName::Tag => "@tag".into(),
        AtName::Diff => "@diff".into(),
        AtName::Dvc => "@dvc".into(),
        AtName::Meta => "@meta".into(),
        AtName::Reserved => return None,
    })
}

fn show(spec: &VersionSpec) -> String {
    match spec {
        VersionSpec::Number { number, back: 0 } => number.to_string(),
        VersionSpec::Number { number, back } => format!("{number}~{back}"),
        VersionSpec::Hash(digits) => digits.clone(),
        VersionSpec::Time(time) => {
            let time = jiff::Timestamp::from_second(time.parts().0).expect("a time of an i64");
            time.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
        }
        VersionSpec::Latest => "latest".into(),
        VersionSpec::Prev => "prev".into(),
        VersionSpec::Tag(tag) => tag.to_string(),
        VersionSpec::Range(range) => range.as_str().into(),
    }
}

/// Names of all forms.
pub fn at_seeds() -> Vec<Vec<u8>> {
    let names = "@v3 @v18446744073709551615~12 @DEADbeef @latest @prev @history @hash @file @tag @types @prod @1.4.0 @v1.4.0-rc.1+b @1.x @^1.2 @~1.2.3 @1 \
                 @2026-11-01 @2026-11-01T10-30-00Z v3 v3~1 0123456789abcdef 2026-11-01T10:30:00.304Z \
                 2262-04-11 1677-09-21T00-12-44Z dataset .. a/b";
    let mut seeds: Vec<Vec<u8>> = names.split(' ').map(|name| name.as_bytes().to_vec()).collect();
    seeds.extend([
        b"2026-11-01 10:30:00".to_vec(),
        vec![b'x'; 255],
        vec![0xff, 0xfe],
        "\u{e9}".as_bytes().to_vec(),
    ]);
    seeds
}

/// Arguments, parted by NUL bytes; and each as an object, a path, a policy, and a line of the mount table.
pub fn command_line(bytes: &[u8]) {
    let arguments: Vec<OsString> = bytes.split(|b| *b == 0).map(|a| OsString::from_vec(a.to_vec())).collect();
    for argument in &arguments {
        object(argument);
        if let Some(entry) = mounts::parse(argument.as_bytes()) {
            assert!(entry.point.as_os_str().len() + entry.source.len() <= argument.len());
        }
        if let Some(Ok(read)) = argument.to_str().map(policy::parse) {
            assert_eq!(policy::parse(&policy::show(read)), Ok(read));
        }
    }
    if arguments.len() <= 32 {
        drop(Cli::try_parse_from(std::iter::once("strata".into()).chain(arguments)));
    }
}

fn object(text: &OsStr) {
    if let Ok(path) = parse_path(text) {
        let again = path_bytes(&path);
        assert!(again.len() <= text.len());
        assert_eq!(parse_path(OsStr::from_bytes(&again)), Ok(path));
    }
    if let Ok(spec) = ObjectSpec::parse(text) {
        let mut again = spec.dataset.as_str().as_bytes().to_vec();
        if let Some(version) = &spec.version {
            again.extend([b"@", version.as_str().as_bytes()].concat());
        }
        again.extend([b"/", &path_bytes(&spec.path)[..]].concat());
        assert_eq!(ObjectSpec::parse(OsStr::from_bytes(&again)), Ok(spec.clone()));
        let wire = serde_json::to_vec(&spec).expect("encode");
        assert_eq!(serde_json::from_slice::<ObjectSpec>(&wire).expect("decode"), spec);
    }
}

/// Commands of all sorts, and lines of the mount table.
pub fn command_seeds() -> Vec<Vec<u8>> {
    let commands = [
        "init",
        "mount --foreground --allow-other --read-only --sync=always --dataset d --at v3~1 /mnt",
        "--store /s umount /mnt",
        "status --json",
        "datasets",
        "log d a/b -n 3 --json",
        "show d@v3",
        "ls -l d@2026-11-01/a",
        "cat d@0123abcd/x@v1",
        "import --delete --checksum -m text /data d",
        "set d policy=settle=1500ms",
        "commit d -m text",
        "batch --rollback-on-error -m text -- make all",
        "rollback d v3 -m text",
        "verify --json",
        "fsck --dry-run --rebuild-index",
        "hash --json /",
        "settle=2s manual every-write d//a/./b/ d@@latest",
    ];
    let mounts = [
        &b"98 32 0:62 / /mnt/with\\040space rw,noatime shared:1 master:2 - fuse.strata strata:/a\\134b rw"[..],
        b"22 1 8:1 / / rw - ext4 /dev/sda1 rw",
    ];
    let commands = commands.iter().map(|line| line.replace(' ', "\0").into_bytes());
    commands.chain(mounts.map(<[u8]>::to_vec)).collect()
}
