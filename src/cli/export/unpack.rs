//! Unpacking an export into a new directory.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, mknodat, utimensat,
};

use crate::daemon::Failure;
use crate::dataset::archive::{Contents, Member, TarReader, What};
use crate::dataset::outside::Reach;
use crate::dataset::{self, Error};
use crate::model::Kind;

/// Unpacks an archive that `strata export` wrote into the directory `root`, which will be `target`: errors name what
/// is in that. With `preserve`, owners are set where they can be. Gives the bytes of all files.
pub fn unpack(archive: impl Read, root: &Path, target: &Path, preserve: bool) -> Result<u64, Failure> {
    let mut reader = TarReader::new(archive);
    let (mut dirs, mut bytes) = (Vec::new(), 0);
    while let Some(member) = reader.next_member()? {
        let name = OsStr::from_bytes(member.path.strip_suffix(b"/").unwrap_or(&member.path));
        let place = Place { path: root.join(name), shown: target.join(name) };
        make(&mut reader, root, &place, &member).map_err(|e| match e {
            // It says on what.
            Error::Store(crate::store::Error::Io { .. }) => e.into(),
            e => Failure::because(format!("cannot write {}", place.shown.display()), &e),
        })?;
        if let What::File { size, .. } = member.what {
            bytes += size;
        }
        // A directory may not be one to write to, and is written to.
        if member.what == What::Dir {
            dirs.push((place, member));
        } else if !matches!(member.what, What::Link(_)) {
            finish(&place, &member, preserve)?;
        }
    }
    dirs.iter().rev().try_for_each(|(place, member)| finish(place, member, preserve))?;
    Ok(bytes)
}

/// Where something is put for now, and where it will be.
struct Place {
    path: PathBuf,
    shown: PathBuf,
}

fn make<R: Read>(
    reader: &mut TarReader<R>,
    root: &Path,
    place: &Place,
    member: &Member,
) -> Result<(), Error> {
    let failed = |what| move |e: io::Error| failed(what, &place.shown, e);
    let reached = Reach::new(&place.path).map_err(failed("reach"))?;
    let at = reached.path();
    match &member.what {
        What::Dir => fs::create_dir(at).map_err(failed("make")),
        What::Symlink(target) => symlink(OsStr::from_bytes(target), at).map_err(failed("make")),
        What::Link(first) => {
            let first = root.join(OsStr::from_bytes(first));
            let first = Reach::new(&first).map_err(failed("reach"))?;
            fs::hard_link(first.path(), at).map_err(failed("link"))
        }
        What::Special(kind, device) => {
            let kind = match kind {
                Kind::CharDevice => FileType::CharacterDevice,
                Kind::BlockDevice => FileType::BlockDevice,
                _ => FileType::Fifo,
            };
            let made = mknodat(CWD, at, kind, Mode::from_raw_mode(0o600), u64::from(*device));
            made.map_err(|e| failed("make")(e.into()))
        }
        What::File { size, .. } => {
            let made = File::options().write(true).create_new(true).mode(0o600).open(at);
            let file = made.map_err(failed("make"))?;
            file.set_len(*size).map_err(failed("size"))?;
            reader.contents(member, &mut Plain { file, path: place.shown.clone(), at: 0 })
        }
    }
}

/// Not `Error::io`: the disk that is full is not the store's.
fn failed(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Store(crate::store::Error::Io { what, path: path.to_owned(), source })
}

fn finish(place: &Place, member: &Member, preserve: bool) -> Result<(), Failure> {
    let failed = |e: io::Error| {
        Failure::because(format!("cannot set the attributes of {}", place.shown.display()), &e)
    };
    let reached = Reach::new(&place.path).map_err(failed)?;
    let at = reached.path();
    if let Some((uid, gid)) = member.owner.filter(|_| preserve && rustix::process::geteuid().is_root()) {
        lchown(at, Some(uid), Some(gid)).map_err(failed)?;
    }
    for (name, value) in &member.xattrs {
        lsetxattr(at, name.as_slice(), value, XattrFlags::empty()).map_err(|e| failed(e.into()))?;
    }
    if !matches!(member.what, What::Symlink(_)) {
        fs::set_permissions(at, Permissions::from_mode(member.mode)).map_err(failed)?;
    }
    let (tv_sec, tv_nsec) = member.mtime.parts();
    let time = Timespec { tv_sec, tv_nsec: i64::from(tv_nsec) };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, at, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(e.into()))
}

/// A file that is written; holes stay holes.
struct Plain {
    file: File,
    path: PathBuf,
    at: u64,
}

impl Contents for Plain {
    fn bytes(&mut self, bytes: &[u8]) -> dataset::Result<()> {
        let written = self.file.write_all_at(bytes, self.at);
        written.map_err(|e| failed("write", &self.path, e))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> dataset::Result<()> {
        self.at += count;
        Ok(())
    }
}
