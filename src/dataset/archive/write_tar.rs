//! Writing a tar archive: POSIX ustar with pax headers for what does not fit into it.

use tar::{EntryType, Header};

use super::pax;
use super::{Member, What};
use crate::dataset::error::Result;
use crate::model::{Kind, Timestamp};

/// Bytes of a block: members begin at a multiple.
pub const BLOCK: u64 = 512;
/// As many bytes are handed on at a time.
const BUFFER: usize = 256 << 10;
/// Longest name and target within a header.
const NAME_MAX: usize = 100;
/// First size, in bytes, that is too large for a header.
const SIZE_END: u64 = 1 << 33;
/// First owner that is too large for a header.
const OWNER_END: u32 = 1 << 21;

/// A tar archive on its way to `out`.
pub struct TarWriter<'a> {
    out: &'a mut dyn FnMut(&[u8]) -> Result<()>,
    buffer: Vec<u8>,
    /// Bytes so far.
    pub bytes: u64,
}

impl<'a> TarWriter<'a> {
    /// Begins one.
    pub fn new(out: &'a mut dyn FnMut(&[u8]) -> Result<()>) -> TarWriter<'a> {
        TarWriter { out, buffer: Vec::with_capacity(BUFFER), bytes: 0 }
    }

    /// Adds bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.buffer.extend(bytes);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Finds out whether anybody still takes the archive, where nothing is to be added for long.
    pub fn alive(&mut self) -> Result<()> {
        (self.out)(&[])
    }

    /// Fills the block up.
    pub fn pad(&mut self) -> Result<()> {
        let rest = (BLOCK - self.bytes % BLOCK) % BLOCK;
        self.raw(&[0; BLOCK as usize][..rest as usize])
    }

    /// A comment on the whole archive.
    pub fn comment(&mut self, text: &str) -> Result<()> {
        let mut records = Vec::new();
        pax::push(&mut records, b"comment", text.as_bytes());
        self.pax(EntryType::XGlobalHeader, &records)
    }

    /// Begins a member; a file's data follow, then [`TarWriter::pad`].
    pub fn begin(&mut self, member: &Member) -> Result<()> {
        let (mut records, mut header) = (Vec::new(), Header::new_ustar());
        let mut map = Vec::new();
        let (mut path, mut size) = (member.path.clone(), 0);
        let (seconds, nanos) = member.mtime.parts();
        match &member.what {
            What::File { size: whole, data } => {
                size = *whole;
                header.set_entry_type(EntryType::Regular);
                if data.as_slice() != [(0, size)] && size > 0 {
                    map = sparse_map(data, size);
                    size = map.len() as u64 + data.iter().map(|(_, len)| len).sum::<u64>();
                    pax::push(&mut records, b"GNU.sparse.major", b"1");
                    pax::push(&mut records, b"GNU.sparse.minor", b"0");
                    pax::push(&mut records, b"GNU.sparse.name", &path);
                    pax::push(&mut records, b"GNU.sparse.realsize", whole.to_string().as_bytes());
                    path = b"GNUSparseFile.0/sparse".to_vec();
                }
            }
            What::Dir => {
                header.set_entry_type(EntryType::Directory);
                path.push(b'/');
            }
            What::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                link(&mut header, &mut records, target);
            }
            What::Link(target) => {
                header.set_entry_type(EntryType::Link);
                link(&mut header, &mut records, target);
            }
            What::Special(kind, device) => {
                header.set_entry_type(match kind {
                    Kind::CharDevice => EntryType::Char,
                    Kind::BlockDevice => EntryType::Block,
                    _ => EntryType::Fifo,
                });
                set_device(&mut header, *device)?;
            }
        }
        if path.len() > NAME_MAX {
            pax::push(&mut records, b"path", &path);
        }
        let name_len = path.len().min(NAME_MAX);
        header.as_mut_bytes()[..name_len].copy_from_slice(&path[..name_len]);
        if size >= SIZE_END {
            pax::push(&mut records, b"size", size.to_string().as_bytes());
        }
        header.set_size(size);
        let (uid, gid) = member.owner.unwrap_or_default();
        for (key, id) in [(&b"uid"[..], uid), (b"gid", gid)] {
            if id >= OWNER_END {
                pax::push(&mut records, key, id.to_string().as_bytes());
            }
        }
        header.set_uid(u64::from(uid));
        header.set_gid(u64::from(gid));
        if nanos != 0 || !(0..SIZE_END as i64).contains(&seconds) {
            pax::push(&mut records, b"mtime", decimal(member.mtime).as_bytes());
        }
        header.set_mtime(seconds.clamp(0, SIZE_END as i64 - 1) as u64);
        header.set_mode(member.mode & 0o7777);
        for (name, value) in &member.xattrs {
            pax::push(&mut records, &[b"SCHILY.xattr.", &pax::escape(name)[..]].concat(), value);
        }
        header.set_cksum();
        if !records.is_empty() {
            self.pax(EntryType::XHeader, &records)?;
        }
        self.raw(header.as_bytes())?;
        self.raw(&map)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<u64> {
        self.raw(&[0; 2 * BLOCK as usize])?;
        self.flush()?;
        Ok(self.bytes)
    }

    fn pax(&mut self, kind: EntryType, records: &[u8]) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.as_mut_bytes()[..9].copy_from_slice(b"PaxHeader");
        header.set_size(records.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.raw(header.as_bytes())?;
        self.raw(records)?;
        self.pad()
    }

    fn flush(&mut self) -> Result<()> {
        for part in self.buffer.chunks(1 << 20) {
            (self.out)(part)?;
        }
        self.buffer.clear();
        Ok(())
    }
}

/// Sets a link's target.
fn link(header: &mut Header, records: &mut Vec<u8>, target: &[u8]) {
    if target.len() > NAME_MAX {
        pax::push(records, b"linkpath", target);
    }
    let len = target.len().min(NAME_MAX);
    header.as_mut_bytes()[157..157 + len].copy_from_slice(&target[..len]);
}

/// Sets a device's number, which the kernel packs as makedev(3) of 32 bits.
fn set_device(header: &mut Header, device: u32) -> Result<()> {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    let failed = |e: std::io::Error| crate::dataset::Error::Invalid(e.to_string());
    header.set_device_major(major).map_err(failed)?;
    header.set_device_minor(minor).map_err(failed)
}

/// The map of a sparse file in the form 1.0 of GNU tar, which begins its data: the number of stretches of
/// data, then the offset and length of each, a number a line, filled up to a block.
fn sparse_map(data: &[(u64, u64)], size: u64) -> Vec<u8> {
    // The last stretch says how long the file is.
    let ends = data.last().is_some_and(|(at, len)| at + len == size);
    let end = if ends { None } else { Some((size, 0)) };
    let mut map = format!("{}\n", data.len() + usize::from(!ends));
    for (at, len) in data.iter().copied().chain(end) {
        map.push_str(&format!("{at}\n{len}\n"));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK as usize), 0);
    map
}

/// Seconds since 1970 as a decimal fraction.
fn decimal(time: Timestamp) -> String {
    let nanos = time.0.unsigned_abs();
    let sign = if time.0 < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
