//! Reading a tar archive from front to back: ustar, GNU and pax, with holes in the forms that GNU tar,
//! bsdtar and strata write.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::pax::{self, Record};
use super::write_tar::BLOCK;
use super::{Contents, Member, What};
use crate::dataset::error::{Error, Result};
use crate::model::{Kind, Timestamp};

/// Most bytes of a header that says something of another: names, attributes, maps of holes.
const EXTRA_MAX: u64 = 4 << 20;
/// Most records that hold for all members.
const GLOBAL_MAX: usize = 64;
/// Most stretches of data of a file with holes.
const STRETCHES_MAX: usize = 1 << 20;
/// Bytes read at a time.
const BUFFER: usize = 256 << 10;
/// Longest path or target.
const PATH_MAX: usize = 64 << 10;

/// A tar archive being read.
pub struct TarReader<R> {
    from: R,
    /// Bytes of the last member that were not read, and those that fill up its block.
    left: u64,
    padding: u64,
    global: Vec<Record>,
    buffer: Vec<u8>,
}

/// What is said of the next member by what stands before it.
#[derive(Default)]
struct Said {
    records: Vec<Record>,
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// Reads from its beginning on.
    pub fn new(from: R) -> TarReader<R> {
        TarReader { from, left: 0, padding: 0, global: Vec::new(), buffer: vec![0; BUFFER] }
    }

    /// What the archive says of itself.
    pub fn comment(&self) -> Option<&[u8]> {
        self.global.iter().rev().find(|(key, _)| key == b"comment").map(|(_, value)| value.as_slice())
    }

    /// The next member; `None` at the end of the archive, which must be marked as one. Data of the last that
    /// were not read are passed over.
    ///
    /// # Errors
    /// Where the archive is truncated, malformed, or cannot be read.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        let mut said = Said { records: self.global.clone(), ..Said::default() };
        loop {
            self.skip()?;
            let mut header = Header::new_old();
            self.exact(header.as_mut_bytes())?;
            if header.as_bytes().iter().all(|b| *b == 0) {
                return Ok(None);
            }
            check(&header)?;
            // The label of a volume; it has no data, nor always a size.
            if header.entry_type().as_byte() == b'V' {
                continue;
            }
            let size = header.entry_size().map_err(|e| malformed(&e))?;
            (self.left, self.padding) = (size, size.wrapping_neg() % BLOCK);
            match header.entry_type() {
                EntryType::XGlobalHeader => {
                    let records = pax::parse(&self.extra()?)?;
                    // What is said again counts instead, so this stays small.
                    self.global.retain(|(key, _)| records.iter().all(|(new, _)| new != key));
                    self.global.extend(records.iter().cloned());
                    if self.global.len() > GLOBAL_MAX {
                        return Err(Error::Invalid(format!("over {GLOBAL_MAX} global pax records")));
                    }
                    said.records = self.global.clone();
                }
                EntryType::XHeader => {
                    let records = pax::parse(&self.extra()?)?;
                    said.records.truncate(self.global.len());
                    said.records.extend(records);
                }
                EntryType::GNULongName => said.path = Some(until_nul(self.extra()?)),
                EntryType::GNULongLink => said.target = Some(until_nul(self.extra()?)),
                _ => return self.member(&header, said).map(Some),
            }
        }
    }

    /// Gives `to` all bytes of the file that `member`, the last one, is.
    ///
    /// # Errors
    /// As [`TarReader::next_member`], and where `to` fails.
    pub fn contents(&mut self, member: &Member, to: &mut dyn Contents) -> Result<()> {
        let What::File { size, data } = &member.what else { return Ok(()) };
        let mut at = 0;
        for (start, len) in data.iter().filter(|(_, len)| *len > 0) {
            to.zeros(start - at)?;
            let mut left = *len;
            while left > 0 {
                let wanted = left.min(BUFFER as u64) as usize;
                let mut buffer = std::mem::take(&mut self.buffer);
                let read = self.exact(&mut buffer[..wanted]).and_then(|()| to.bytes(&buffer[..wanted]));
                self.buffer = buffer;
                read?;
                self.left -= wanted as u64;
                left -= wanted as u64;
            }
            at = start + len;
        }
        to.zeros(size - at)
    }

    /// Reads what follows the end mark, so that whoever decompresses checks all.
    pub fn finish(mut self) -> Result<()> {
        loop {
            match self.from.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(malformed(&e)),
            }
        }
    }

    fn member(&mut self, header: &Header, said: Said) -> Result<Member> {
        let find = |key: &[u8]| said.records.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_slice());
        let path = find(b"GNU.sparse.name").or(find(b"path")).map(<[u8]>::to_vec);
        let path = path.or_else(|| said.path.clone()).unwrap_or_else(|| header.path_bytes().into_owned());
        let target = find(b"linkpath").map(<[u8]>::to_vec).or_else(|| said.target.clone());
        let target = target.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        if path.len().max(target.as_ref().map_or(0, Vec::len)) > PATH_MAX {
            return Err(Error::Invalid("a path of the archive is over 64 KiB long".into()));
        }
        if let Some(size) = find(b"size") {
            self.left = pax::number(size)?;
            self.padding = self.left.wrapping_neg() % BLOCK;
        }
        let number = |key: &[u8], old: io::Result<u64>| match find(key) {
            Some(value) => pax::number(value),
            None => old.map_err(|e| malformed(&e)),
        };
        let owner = (number(b"uid", header.uid())?, number(b"gid", header.gid())?);
        let owner = u32::try_from(owner.0).ok().zip(u32::try_from(owner.1).ok());
        let mtime = match find(b"mtime") {
            Some(value) => time(value)?,
            None => {
                let seconds = header.mtime().map_err(|e| malformed(&e))?;
                Timestamp::from_parts(i64::try_from(seconds).unwrap_or(i64::MAX), 0)
            }
        };
        let mode = header.mode().map_err(|e| malformed(&e))? & 0o7777;
        let named = |prefix: &[u8]| {
            let of = |(key, value): &Record| Some((key.strip_prefix(prefix)?.to_vec(), value.clone()));
            said.records.iter().filter_map(of).collect::<Vec<_>>()
        };
        let mut xattrs = named(b"SCHILY.xattr.");
        xattrs.iter_mut().for_each(|(name, _)| *name = pax::unescape(name));
        let has_acl =
            said.records.iter().any(|(key, value)| key.starts_with(b"SCHILY.acl.") && !value.is_empty());
        let no_target = || Error::Invalid(format!("{}: a link without a target", lossy(&path)));
        let device = || -> io::Result<u32> {
            let (major, minor) = (header.device_major()?, header.device_minor()?);
            let (major, minor) = (major.unwrap_or_default(), minor.unwrap_or_default());
            Ok((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12))
        };
        let device = || device().map_err(|e| malformed(&e));
        let what = match header.entry_type() {
            // Before there were directories, a slash at the end told them.
            EntryType::Regular if path.ends_with(b"/") => What::Dir,
            EntryType::Regular | EntryType::Continuous => self.file(&said)?,
            EntryType::GNUSparse => self.gnu_sparse(header)?,
            EntryType::Directory => What::Dir,
            EntryType::Symlink => What::Symlink(target.ok_or_else(no_target)?),
            EntryType::Link => What::Link(target.ok_or_else(no_target)?),
            EntryType::Fifo => What::Special(Kind::Fifo, 0),
            EntryType::Char => What::Special(Kind::CharDevice, device()?),
            EntryType::Block => What::Special(Kind::BlockDevice, device()?),
            other => {
                let kind = char::from(other.as_byte()).escape_debug().to_string();
                return Err(Error::Invalid(format!(
                    "{}: members of type '{kind}' are not known",
                    lossy(&path)
                )));
            }
        };
        Ok(Member { path, what, mode, owner, mtime, xattrs, has_acl })
    }

    /// A file as pax headers describe it.
    fn file(&mut self, said: &Said) -> Result<What> {
        let find = |key: &[u8]| said.records.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_slice());
        let whole = find(b"GNU.sparse.realsize").or(find(b"GNU.sparse.size")).map(pax::number).transpose()?;
        let Some(size) = whole else {
            return Ok(What::File { size: self.left, data: vec![(0, self.left)] });
        };
        let numbers: Vec<u64> = if find(b"GNU.sparse.major") == Some(b"1") {
            self.map()?
        } else if let Some(map) = find(b"GNU.sparse.map") {
            map.split(|b| *b == b',').filter(|n| !n.is_empty()).map(pax::number).collect::<Result<_>>()?
        } else {
            let keys: [&[u8]; 2] = [b"GNU.sparse.offset", b"GNU.sparse.numbytes"];
            let all = said.records.iter().filter(|(key, _)| keys.contains(&key.as_slice()));
            all.map(|(_, value)| pax::number(value)).collect::<Result<_>>()?
        };
        let pairs = numbers.chunks(2).map(|pair| (pair[0], pair.get(1).copied().unwrap_or_default()));
        self.sparse(size, pairs.collect())
    }

    /// The map that a file's data begin with in form 1.0 of GNU tar.
    fn map(&mut self) -> Result<Vec<u64>> {
        let (mut numbers, mut count, mut line) = (Vec::new(), None, Vec::new());
        while count.is_none_or(|count| numbers.len() < count) {
            let mut block = [0; BLOCK as usize];
            if self.left < BLOCK {
                return Err(Error::Invalid("a map of holes is truncated".into()));
            }
            self.exact(&mut block)?;
            self.left -= BLOCK;
            for byte in block {
                match (byte, count) {
                    (_, Some(count)) if numbers.len() >= count => break,
                    (b'\n', None) => {
                        let stretches = pax::number(&line)?;
                        let limit = |n: &usize| *n <= STRETCHES_MAX;
                        let stretches = usize::try_from(stretches).ok().filter(limit).ok_or_else(too_many)?;
                        count = Some(2 * stretches);
                        line.clear();
                    }
                    (b'\n', Some(_)) => {
                        numbers.push(pax::number(&line)?);
                        line.clear();
                    }
                    _ if line.len() > 20 => return Err(Error::Invalid("a map of holes is malformed".into())),
                    (byte, _) => line.push(byte),
                }
            }
        }
        Ok(numbers)
    }

    /// A file with holes as GNU tar wrote it before there were pax headers.
    fn gnu_sparse(&mut self, header: &Header) -> Result<What> {
        let bad = || Error::Invalid("a header of a file with holes is malformed".into());
        let gnu = header.as_gnu().ok_or_else(bad)?;
        let size = gnu.real_size().map_err(|e| malformed(&e))?;
        let mut data = Vec::new();
        let mut add = |header: &tar::GnuSparseHeader| -> Result<()> {
            if !header.is_empty() {
                let stretch = header.offset().and_then(|at| Ok((at, header.length()?)));
                data.push(stretch.map_err(|e| malformed(&e))?);
            }
            if data.len() > STRETCHES_MAX { Err(too_many()) } else { Ok(()) }
        };
        gnu.sparse.iter().try_for_each(&mut add)?;
        let mut more = gnu.is_extended();
        while more {
            let mut next = GnuExtSparseHeader::new();
            self.exact(next.as_mut_bytes())?;
            next.sparse().iter().try_for_each(&mut add)?;
            more = next.is_extended();
        }
        self.sparse(size, data)
    }

    fn sparse(&self, size: u64, data: Vec<(u64, u64)>) -> Result<What> {
        let bad = || Error::Invalid("a map of holes does not fit its file".into());
        let (mut at, mut stored) = (0, 0u64);
        for (start, len) in &data {
            let end = start.checked_add(*len).filter(|end| *start >= at && *end <= size).ok_or_else(bad)?;
            (at, stored) = (end, stored + len);
        }
        // An empty file's one stretch is left out by some.
        match stored == self.left && size <= i64::MAX as u64 {
            true => Ok(What::File { size, data }),
            false => Err(bad()),
        }
    }

    /// The bytes of a header that says something of another.
    fn extra(&mut self) -> Result<Vec<u8>> {
        if self.left > EXTRA_MAX {
            return Err(Error::Invalid(format!("an extended header of {} bytes", self.left)));
        }
        let mut bytes = vec![0; self.left as usize];
        self.exact(&mut bytes)?;
        self.left = 0;
        Ok(bytes)
    }

    fn skip(&mut self) -> Result<()> {
        let mut rest = self.left.saturating_add(self.padding);
        while rest > 0 {
            let wanted = rest.min(BUFFER as u64) as usize;
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = self.exact(&mut buffer[..wanted]);
            self.buffer = buffer;
            read?;
            rest -= wanted as u64;
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn exact(&mut self, out: &mut [u8]) -> Result<()> {
        self.from.read_exact(out).map_err(|e| malformed(&e))
    }
}

/// Whether a header is one: its checksum says so.
fn check(header: &Header) -> Result<()> {
    let bytes = header.as_bytes();
    let sum = |(n, b): (usize, &u8)| if (148..156).contains(&n) { 32 } else { u32::from(*b) };
    let sum: u32 = bytes.iter().enumerate().map(sum).sum();
    match header.cksum() {
        Ok(said) if said == sum => Ok(()),
        _ => Err(Error::Invalid("it is no tar archive, or damaged: a header's checksum does not fit".into())),
    }
}

fn malformed(error: &io::Error) -> Error {
    Error::Invalid(match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is truncated".into(),
        _ => format!("it cannot be read: {error}"),
    })
}

fn too_many() -> Error {
    Error::Invalid(format!("a file with over {STRETCHES_MAX} holes"))
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let len = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.truncate(len);
    bytes
}

/// Seconds since 1970 as a decimal fraction.
fn time(value: &[u8]) -> Result<Timestamp> {
    let bad = || Error::Invalid(format!("'{}' is no time", String::from_utf8_lossy(value)));
    let text = std::str::from_utf8(value).map_err(|_| bad())?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i128 = seconds.parse::<u64>().map_err(|_| bad())?.into();
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: i128 = digits.parse::<u32>().map_err(|_| bad())?.into();
    let nanos = seconds * 1_000_000_000 + nanos;
    let nanos = if negative { -nanos } else { nanos };
    Ok(Timestamp(nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
}

pub(super) fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}
