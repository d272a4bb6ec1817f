//! The kernel's table of mounts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What a mount's source starts with; the store's path follows.
pub const SOURCE: &str = "strata:";
/// How a path begins that is written with escapes, which plain ones do not: they are absolute.
const ESCAPED: &[u8] = b"%2F";
/// Types of our mounts; which of them depends on who made the mount system call.
const TYPES: [&[u8]; 2] = [b"fuse.strata", b"fuse"];

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Device number, `major:minor`.
    pub device: String,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Type of the file system.
    pub kind: OsString,
    /// What is mounted.
    pub source: OsString,
    /// The user id of who mounted it, where a daemon serves it.
    pub user: Option<u32>,
}

impl MountEntry {
    /// The store, if it is one of ours.
    pub fn store(&self) -> Option<PathBuf> {
        let path = self.source.as_bytes().strip_prefix(SOURCE.as_bytes())?;
        TYPES.contains(&self.kind.as_bytes()).then(|| store_of(path))
    }

    /// Whether a daemon serves it.
    pub fn is_fuse(&self) -> bool {
        self.kind.as_bytes().starts_with(b"fuse")
    }

    /// Whether it only stands for what is to be mounted there, when somebody looks.
    pub fn is_awaited(&self) -> bool {
        self.kind == "autofs"
    }
}

/// The source that names a mount of the store in `store`, an absolute path. Bytes that do not get through
/// fusermount3 and the table as they are make it one with escapes: a percent sign and two digits.
pub fn source_of(store: &Path) -> String {
    let path = store.as_os_str().as_bytes();
    let text = store.to_str();
    let is_plain = |byte: &u8| !byte.is_ascii_control() && !b",\\".contains(byte);
    if let Some(text) = text.filter(|_| path.iter().all(is_plain)) {
        return format!("{SOURCE}{text}");
    }
    let escape = |(at, byte): (usize, &u8)| match byte {
        byte if at > 0 && *byte != b'%' && byte.is_ascii() && is_plain(byte) => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    format!("{SOURCE}{}", path.iter().enumerate().map(escape).collect::<String>())
}

/// The store that what follows `strata:` in a source names.
pub fn store_of(path: &[u8]) -> PathBuf {
    if !path.starts_with(ESCAPED) {
        return OsStr::from_bytes(path).into();
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let digits =
            after.get(..2).filter(|_| byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    OsString::from_vec(out).into()
}

/// The mount at exactly this place, the topmost if there are several.
///
/// # Errors
/// Where the table cannot be read.
pub fn at(point: &Path) -> io::Result<Option<MountEntry>> {
    Ok(list()?.into_iter().rev().find(|entry| entry.point == point))
}

/// All mounts this process sees.
///
/// # Errors
/// Where the table cannot be read.
pub fn list() -> io::Result<Vec<MountEntry>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table.split(|b| *b == b'\n').filter_map(parse).collect())
}

/// An absolute path without symbolic links in it. What is mounted at it is not asked for anything, so that this works
/// where a daemon is dead or hangs.
///
/// # Errors
/// Where the directory that holds it is missing or cannot be read.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let whole = parent.canonicalize()?.join(name);
            if fs::read_link(&whole).is_ok() { whole.canonicalize() } else { Ok(whole) }
        }
        _ => path.canonicalize(),
    }
}

/// A line of mountinfo, see proc_pid_mountinfo(5).
pub fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|b| *b == b' ');
    let device = String::from_utf8(fields.nth(2)?.to_vec()).ok()?;
    let point = unescape(fields.nth(1)?);
    let mut after = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = unescape(after.next()?);
    let source = unescape(after.next()?);
    let mut options = after.next().unwrap_or_default().split(|b| *b == b',');
    let user = options.find_map(|option| option.strip_prefix(b"user_id="));
    let user = user.and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
    Some(MountEntry { device, point: point.into(), kind, source, user })
}

/// Undoes the escapes of the table: a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|d| byte == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        let code = digits.map(|d| d.iter().fold(0u32, |n, b| n * 8 + u32::from(b - b'0')));
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(code) => {
                out.push(code);
                rest = &after[3..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_table_are_understood() {
        let line =
            b"98 32 0:62 / /mnt/with\\040space rw,noatime shared:1 master:2 - fuse.strata strata:/a\\134b rw,user_id=7,group_id=8";
        let entry = parse(line).unwrap();
        assert_eq!(entry.device, "0:62");
        assert_eq!(entry.point, Path::new("/mnt/with space"));
        assert_eq!(entry.store().unwrap(), Path::new("/a\\b"));
        let other = parse(b"22 1 8:1 / / rw - ext4 /dev/sda1 rw").unwrap();
        assert_eq!((other.store(), other.kind.to_str()), (None, Some("ext4")));
        assert_eq!((entry.user, other.user), (Some(7), None));
        let awaited = parse(b"23 1 0:37 / /mnt/pets rw shared:1 - autofs systemd-1 rw,fd=24,pgrp=1").unwrap();
        assert!(awaited.is_awaited() && !entry.is_awaited());
        for torn in [&b""[..], b"98 32 0:62 / /mnt", b"98 32 0:62 / /mnt rw - fuse"] {
            assert_eq!(parse(torn), None);
        }
        assert_eq!(unescape(b"\\04x\\9990\\400"), OsStr::new("\\04x\\9990\\400"));
    }

    #[test]
    fn any_path_of_a_store_is_told_by_its_source() {
        let every: Vec<u8> = (1..=255).collect();
        let long = [b"/", every.as_slice()].concat();
        for path in
            [&b"/srv/store"[..], b"/50% off", b"/%2F", b"/a,b\\c%2C", b"/\xff", "/\u{e9},".as_bytes(), &long]
        {
            let path = Path::new(OsStr::from_bytes(path));
            let source = source_of(path);
            assert!(!source.contains([',', '\\', '\n']), "{source}");
            assert_eq!(store_of(source.strip_prefix(SOURCE).unwrap().as_bytes()), path, "{source}");
        }
        assert_eq!(source_of(Path::new("/50% off")), "strata:/50% off");
        assert_eq!(source_of(Path::new("/a,b%")), "strata:%2Fa%2Cb%25");
        // As mounts of old have it, whatever is in it.
        assert_eq!(store_of(b"/a,b%2C\\"), Path::new("/a,b%2C\\"));
        assert_eq!(store_of(b"%2Fa%zz%2"), Path::new("/a%zz%2"));
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(at(Path::new("/")).unwrap().is_some());
        assert_eq!(at(Path::new("/no/such/place")).unwrap(), None);
    }

    #[test]
    fn links_on_the_way_to_a_mountpoint_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        assert_eq!(resolve(&root.join("link")).unwrap(), root.join("real"));
        assert_eq!(resolve(&root.join("link/gone")).unwrap(), root.join("real/gone"));
        assert!(resolve(&root.join("none/gone")).is_err());
    }
}
