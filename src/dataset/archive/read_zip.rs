//! Reading a zip archive.

use std::fs::File;
use std::io::{self, Read, Seek};

use zip::ZipArchive;
use zip::extra_fields::ExtraField;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::grow::Grow;
use super::read_tar::lossy;
use super::{Contents, Member, What};
use crate::dataset::error::{Error, Result};
use crate::model::{Kind, Timestamp};

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;
/// Longest target of a symbolic link, and something to see that it is longer.
const TARGET_MAX: u64 = 4096;
/// File types in the upper half of a mode.
const TYPE: u32 = 0o170_000;

/// Adds all members to `grow`; `watch` is told the compressed bytes of each.
///
/// # Errors
/// Where the archive is damaged, encrypted, compressed in an unknown way, or a member is refused.
pub fn read(file: File, grow: &mut Grow<'_>, watch: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<()> {
    let len = file.metadata().map_err(|e| failed(&e.into()))?.len();
    let mut archive = ZipArchive::new(io::BufReader::with_capacity(BUFFER, file)).map_err(|e| failed(&e))?;
    let mut packed = 0;
    for at in 0..archive.len() {
        let name = match archive.name_for_index(at) {
            Some(Ok(name)) => name.into_owned(),
            _ => format!("number {}", at + 1),
        };
        let of_member = |error: Error| match error {
            Error::Invalid(why) => Error::Invalid(format!("member {}: {why}", lossy(name.as_bytes()))),
            error => error,
        };
        let mut file = archive.by_index(at).map_err(|e| of_member(failed(&e)))?;
        packed += file.compressed_size();
        if packed > len {
            // Their number knows no bounds, and neither does what they unpack to.
            return Err(Error::Invalid("members of the archive lie over each other".into()));
        }
        let member = member(&mut file).map_err(of_member)?;
        let before = file.compressed_size();
        grow.add(&member, &mut |to| contents(&mut file, to).map_err(of_member))?;
        watch(before, grow.len())?;
    }
    Ok(())
}

fn member<R: Read + Seek>(file: &mut ZipFile<'_, R>) -> Result<Member> {
    let path = file.name_raw().to_vec();
    let unix = file.unix_mode();
    let kind = unix.map_or(0, |mode| mode & TYPE);
    let what = match kind {
        _ if path.ends_with(b"/") => What::Dir,
        0o040_000 => What::Dir,
        0o120_000 => {
            let mut target = Vec::new();
            file.take(TARGET_MAX).read_to_end(&mut target).map_err(|e| failed(&e.into()))?;
            What::Symlink(target)
        }
        0o010_000 if file.size() == 0 => What::Special(Kind::Fifo, 0),
        // What zip reads from a pipe it calls one.
        0 | 0o100_000 | 0o010_000 => What::File { size: file.size(), data: vec![(0, file.size())] },
        _ => {
            return Err(Error::Invalid("devices and sockets of a zip archive cannot be taken in".into()));
        }
    };
    let mode = unix.map(|mode| mode & 0o7777).filter(|mode| *mode != 0);
    let mode = mode.unwrap_or(if what == What::Dir { 0o755 } else { 0o644 });
    let mtime = mtime(file);
    Ok(Member { path, what, mode, owner: None, mtime, xattrs: Vec::new(), has_acl: false })
}

/// The time of change: the exact one in UTC, or else that of a clock of unknown zone, taken for UTC.
fn mtime<R: Read>(file: &ZipFile<'_, R>) -> Timestamp {
    let exact = file.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(times) => times.mod_time(),
        _ => None,
    });
    if let Some(seconds) = exact {
        return Timestamp::from_parts(i64::from(seconds as i32), 0);
    }
    let local = file.last_modified().and_then(|time| {
        let number = |n: u8| i8::try_from(n).ok();
        let (month, day, hour) = (number(time.month())?, number(time.day())?, number(time.hour())?);
        let (minute, second) = (number(time.minute())?, number(time.second())?);
        let year = i16::try_from(time.year()).ok()?;
        jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()
    });
    let utc = local.and_then(|local| local.to_zoned(jiff::tz::TimeZone::UTC).ok());
    Timestamp::from_parts(utc.map_or(0, |time| time.timestamp().as_second()), 0)
}

/// Gives `to` the bytes of a member; that they are what they should be is checked at their end.
fn contents<R: Read>(file: &mut ZipFile<'_, R>, to: &mut dyn Contents) -> Result<()> {
    let (mut buffer, mut left) = (vec![0; BUFFER], file.size());
    loop {
        match file.read(&mut buffer) {
            Ok(0) if left == 0 => return Ok(()),
            Ok(0) => return Err(Error::Invalid("a member is shorter than it says".into())),
            Ok(read) => {
                let longer = || Error::Invalid("a member is longer than it says".into());
                left = left.checked_sub(read as u64).ok_or_else(longer)?;
                to.bytes(&buffer[..read])?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(&e.into())),
        }
    }
}

fn failed(error: &ZipError) -> Error {
    let is_known = match error {
        ZipError::UnsupportedArchive(_) => false,
        ZipError::Io(e) => e.kind() != io::ErrorKind::Unsupported,
        _ => true,
    };
    let advice = if is_known { "" } else { " (unpack the archive, and import the directory)" };
    Error::Invalid(format!("it cannot be read: {error}{advice}"))
}
