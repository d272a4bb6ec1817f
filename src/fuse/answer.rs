//! What the kernel is told, and what it says, in its terms and in those of [`crate::view`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileType, Generation, INodeNo, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyXattr, Request,
    TimeOrNow,
};

use crate::dataset::{Attr, Caller, Error, Result};
use crate::model::{Kind, Timestamp};
use crate::view::{Entry, FileSystem, Lifetime, NodeId};

use super::errno::errno;

/// What counts as "for ever".
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

/// The errno to reply; what points at damage or a failing disk is logged.
pub(super) fn code(what: &str, error: &Error) -> Errno {
    let code = errno(error);
    match code {
        libc::EIO => log::error!("{what}: {error}"),
        libc::ENOSPC | libc::EDQUOT => log::warn!("{what}: {error}"),
        _ => log::debug!("{what}: {error}"),
    }
    Errno::from_i32(code)
}

pub(super) fn ttl(lifetime: Lifetime) -> Duration {
    match lifetime {
        Lifetime::UntilTold | Lifetime::Immutable => YEAR,
        Lifetime::Momentary => Duration::ZERO,
    }
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

pub(super) fn file_attr(node: NodeId, attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(node.0),
        size: attr.size,
        // Fewer than the size has where there are holes, and no fewer elsewhere: copy programs go by that.
        blocks: attr.data.div_ceil(512),
        atime: attr.atime.into(),
        mtime: attr.mtime.into(),
        ctime: attr.ctime.into(),
        crtime: SystemTime::UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: attr.mode as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: 4096,
        flags: 0,
    }
}

pub(super) fn look_up(fs: &FileSystem, by: Caller, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
    match fs.lookup(by, node(parent), name.as_bytes()) {
        // In an immutable directory what is not there never will be.
        Err(Error::NotFound(_)) if fs.is_pinned() => {
            let nothing = file_attr(NodeId(0), &NOTHING);
            reply.entry(&YEAR, &nothing, Generation(0));
        }
        result => reply_entry("lookup", reply, result),
    }
}

pub(super) fn reply_entry(what: &str, reply: ReplyEntry, result: Result<Entry>) {
    match result {
        Ok(entry) => {
            let (attr, name) = (ttl(entry.lifetime), ttl(entry.name_lifetime));
            reply.entry_with_ttls(&attr, &name, &file_attr(entry.node, &entry.attr), Generation(0));
        }
        Err(error) => reply.error(code(what, &error)),
    }
}

pub(super) fn reply_empty(what: &str, reply: ReplyEmpty, result: Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(code(what, &error)),
    }
}

pub(super) fn reply_attr(what: &str, reply: ReplyAttr, node: NodeId, result: Result<(Attr, Lifetime)>) {
    match result {
        Ok((attr, lifetime)) => reply.attr(&ttl(lifetime), &file_attr(node, &attr)),
        Err(error) => reply.error(code(what, &error)),
    }
}

pub(super) fn time(time: TimeOrNow) -> Timestamp {
    match time {
        TimeOrNow::SpecificTime(time) => match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(_) => time.into(),
            Err(before) => before_epoch(before.duration()),
        },
        TimeOrNow::Now => Timestamp::now(),
    }
}

/// A time before 1970, as fuser 0.18.0 gives it: with the seconds as they are to be counted back, but the
/// nanoseconds as they are to be counted on from there.
fn before_epoch(given: Duration) -> Timestamp {
    let nanos = i128::from(given.subsec_nanos()) - i128::from(given.as_secs()) * 1_000_000_000;
    Timestamp(i64::try_from(nanos).unwrap_or(i64::MIN))
}

pub(super) fn node(ino: INodeNo) -> NodeId {
    NodeId(ino.0)
}

/// Attributes of a name that is not there.
const NOTHING: Attr = Attr {
    kind: Kind::File,
    size: 0,
    data: 0,
    mode: 0,
    uid: 0,
    gid: 0,
    nlink: 0,
    rdev: 0,
    atime: Timestamp(0),
    mtime: Timestamp(0),
    ctime: Timestamp(0),
};

pub(super) fn reply_xattr(what: &str, reply: ReplyXattr, size: u32, value: Result<Vec<u8>>) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(code(what, &error)),
    }
}
