//! Reading an archive of whatever kind as a tree.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use super::grow::Grow;
use super::read_tar::TarReader;
use super::{COMMENT, COMMENT_SUMS, read_zip};
use crate::dataset::error::{Error, Result};
use crate::dataset::import::{Progress, Teller, Tree};
use crate::model::{Inode, Timestamp};
use crate::store::{Error as StoreError, Objects};

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;
/// Largest window, as a power of two, that a zstd frame may ask memory for: what zstd(1) takes unasked.
const WINDOW_LOG_MAX: u32 = 27;

/// Forms of archives that are told but not read, by how they begin.
const UNREAD: [(&[u8], &str); 3] =
    [(b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"7z\xbc\xaf\x27\x1c", "7-Zip")];

/// Whose what an archive holds is.
#[derive(Clone, Debug)]
pub struct Owners {
    /// User and group of all that the archive gives to nobody.
    pub otherwise: (u32, u32),
    /// Whether the archive's owners count at all.
    pub keep: bool,
    /// The root directory where the archive does not say what it is.
    pub root: Option<Inode>,
}

/// Reads the archive at `path`, whose files go into the store.
///
/// # Errors
/// Where it cannot be read, is no archive that is known, is damaged or truncated, or has members that a
/// dataset cannot take.
pub fn read_archive(objects: &Objects, path: &Path, owners: Owners, teller: &mut Teller<'_>) -> Result<Tree> {
    let io = |what: &'static str| move |e: io::Error| Error::Store(StoreError::io(what, path, e));
    let options = &mut OpenOptions::new();
    let opened = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = opened.map_err(io("open"))?;
    let meta = file.metadata().map_err(io("inspect"))?;
    if !meta.is_file() {
        return Err(Error::Invalid(format!(
            "cannot import {}: it is neither a directory nor an archive",
            path.display()
        )));
    }
    let mut start = [0; 512];
    let len = (&file).take(512).read(&mut start).map_err(io("read"))?;
    file.rewind().map_err(io("read"))?;
    let (uid, gid) = owners.otherwise;
    let root = owners.root.unwrap_or_else(|| Inode::root(0o755, uid, gid, Timestamp::now()));
    let grow = Grow::new(objects, root, owners.otherwise, owners.keep);
    let tree = read(&start[..len], file, grow, meta.size(), teller);
    tree.map_err(|error| match error {
        Error::Invalid(why) => Error::Invalid(format!("cannot import {}: {why}", path.display())),
        error => error,
    })
}

fn read(start: &[u8], file: File, mut grow: Grow<'_>, total: u64, teller: &mut Teller<'_>) -> Result<Tree> {
    if let Some((_, form)) = UNREAD.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(Error::Invalid(format!("{form} archives are not read: unpack it first")));
    }
    let told = |bytes: u64, files: u64| Progress {
        files,
        files_total: files,
        bytes: bytes.min(total),
        bytes_total: total,
        counted: true,
    };
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        let mut done = 0;
        read_zip::read(file, &mut grow, &mut |bytes, files| {
            done += bytes;
            teller.tell(|| told(done, files))
        })?;
        return grow.finish();
    }
    let packed = start.starts_with(b"\x1f\x8b") || start.starts_with(b"\x28\xb5\x2f\xfd");
    if start.len() < 512 && !packed {
        return Err(Error::Invalid("it is neither a directory nor a tar or zip archive".into()));
    }
    let done = Arc::new(AtomicU64::new(0));
    let file = BufReader::with_capacity(BUFFER, Counted { file, done: done.clone() });
    let watch = &mut |files| teller.tell(|| told(done.load(Ordering::Acquire), files));
    if start.starts_with(b"\x1f\x8b") {
        return tar(MultiGzDecoder::new(file), grow, watch);
    }
    if start.starts_with(b"\x28\xb5\x2f\xfd") {
        let failed = |e: io::Error| Error::Invalid(format!("it cannot be read: {e}"));
        let mut decoder = zstd::Decoder::with_buffer(file).map_err(failed)?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(failed)?;
        return tar(decoder, grow, watch);
    }
    tar(file, grow, watch)
}

fn tar(from: impl Read, mut grow: Grow<'_>, watch: &mut dyn FnMut(u64) -> Result<()>) -> Result<Tree> {
    let mut reader = TarReader::new(from);
    while let Some(member) = reader.next_member()? {
        if Some(&member.path) != sums(&reader).as_ref() {
            let mut so_far = grow.len();
            grow.add(&member, &mut |to| {
                reader.contents(&member, &mut Watched { to, watch: &mut || watch(so_far) })
            })?;
            so_far = grow.len();
            watch(so_far)?;
        }
    }
    reader.finish()?;
    grow.finish()
}

/// The member that an export added to what it was made of.
fn sums<R: Read>(reader: &TarReader<R>) -> Option<Vec<u8>> {
    let said = reader.comment()?.strip_prefix(COMMENT.as_bytes())?;
    let at = said.windows(COMMENT_SUMS.len()).position(|part| part == COMMENT_SUMS.as_bytes())?;
    Some(said[at + COMMENT_SUMS.len()..].to_vec())
}

/// Looks, while bytes come, whether anybody still waits.
struct Watched<'a, 'b> {
    to: &'a mut dyn super::Contents,
    watch: &'b mut dyn FnMut() -> Result<()>,
}

impl super::Contents for Watched<'_, '_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.bytes(bytes)?;
        (self.watch)()
    }

    fn zeros(&mut self, count: u64) -> Result<()> {
        self.to.zeros(count)
    }
}

/// A file that counts what is read of it.
struct Counted {
    file: File,
    done: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(out)?;
        self.done.fetch_add(read as u64, Ordering::AcqRel);
        Ok(read)
    }
}
