//! A file of packs as its readers see it, whether it is as it was written or compressed.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lru::LruCache;
use parking_lot::Mutex;
use rustix::fs::Advice;
use zstd::bulk::Decompressor;

use super::frames::{Codec, Form, FrameHeader, Frames, Whose, read_frames};
use super::header::{PACK_HEADER, decode_pack_header};
use super::joined::Members;
use super::read_at::ReadAt;

/// What a pack's header says of it; `None` where it says nothing.
pub fn read_pack_header(file: &impl ReadAt) -> io::Result<Option<Whose>> {
    let mut header = [0; PACK_HEADER as usize];
    match file.fill_at(&mut header, 0) {
        Ok(()) => Ok(decode_pack_header(&header)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// Frames by the number of the opened pack, and that of the frame in it.
type ByNumber = LruCache<(u64, usize), Arc<Vec<u8>>>;

thread_local! {
    /// What decompresses, and where it takes a frame's payload from.
    static SCRATCH: RefCell<(Decompressor<'static>, Vec<u8>)> = RefCell::default();
}

/// Decompressed frames of opened packs, as many as were used last.
#[derive(Debug)]
pub struct FrameCache {
    frames: Mutex<ByNumber>,
    opened: AtomicU64,
}

impl FrameCache {
    /// A cache of at most `frames` frames.
    pub fn new(frames: NonZeroUsize) -> FrameCache {
        FrameCache { frames: Mutex::new(LruCache::new(frames)), opened: AtomicU64::new(0) }
    }
}

/// A file of one pack, or of several, open for reading.
///
/// What it holds is read at the same places whether it is compressed or not. Where a frame of a compressed
/// one is damaged, zeros are read, which no record is: what was there fails its own check.
#[derive(Debug)]
pub struct PackFile {
    file: File,
    frames: Option<Frames>,
    cache: Arc<FrameCache>,
    /// Its number in the cache.
    opened: u64,
    /// Where the packs are, of several; `None` where no list of them is left.
    members: Option<Members>,
}

impl PackFile {
    /// Takes an opened file for a pack; frames that are decompressed go into `cache`.
    pub fn new(file: File, cache: Arc<FrameCache>) -> io::Result<PackFile> {
        let frames = read_frames(&file)?;
        let opened = cache.opened.fetch_add(1, Ordering::Relaxed);
        let mut pack = PackFile { file, frames, cache, opened, members: None };
        if let Some(Frames { form: Form::Joined, whose, .. }) = pack.frames {
            pack.members = Members::read(&pack, whose)?;
        }
        Ok(pack)
    }

    /// Takes a file for a pack that is read once, from its beginning to its end.
    pub fn read_once(file: File) -> io::Result<PackFile> {
        PackFile::new(file, Arc::new(FrameCache::new(NonZeroUsize::MIN)))
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The packs of a file of several; `None` of any other, and where no list of them is left.
    pub fn members(&self) -> Option<&Members> {
        self.members.as_ref()
    }

    /// Whether it is a file of several packs.
    pub fn is_joined(&self) -> bool {
        self.frames.as_ref().is_some_and(|frames| frames.form == Form::Joined)
    }

    /// The frames of a compressed pack; `None` of one that is as it was written.
    pub fn frames(&self) -> Option<&Frames> {
        self.frames.as_ref()
    }

    /// Tells the system that the bytes of the pack from `from` to `to` are wanted soon.
    pub fn will_need(&self, from: u64, to: u64) {
        let (from, to) = match &self.frames {
            None => (from, to),
            Some(frames) => {
                let hit = frames.frames.iter().filter(|frame| frame.end() > from && u64::from(frame.at) < to);
                let hit = hit.map(|frame| (frame.payload(), frame.file_end()));
                match hit.reduce(|first, last| (first.0, last.1)) {
                    Some(hit) => hit,
                    None => return,
                }
            }
        };
        if let Some(len) = NonZeroU64::new(to.saturating_sub(from))
            && let Err(e) = rustix::fs::fadvise(&self.file, from, Some(len), Advice::WillNeed)
        {
            log::debug!("the system takes no advice: {e}");
        }
    }

    /// Whose pack the file says it is, if it says so; of several, whose the first is.
    pub fn whose(&self) -> io::Result<Option<Whose>> {
        match &self.frames {
            Some(frames) => Ok(Some(frames.whose)),
            None => read_pack_header(&self.file),
        }
    }

    /// Fills `out` with what a frame has after `skip` bytes.
    fn read_frame(&self, number: usize, frame: &FrameHeader, skip: usize, out: &mut [u8]) -> io::Result<()> {
        if frame.codec == Codec::Raw {
            return match self.file.fill_at(out, frame.payload() + skip as u64) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    out.fill(0);
                    Ok(())
                }
                other => other,
            };
        }
        let key = (self.opened, number);
        let cached = self.cache.frames.lock().get(&key).cloned();
        let bytes = match cached {
            Some(bytes) => bytes,
            None => {
                let Some(bytes) = self.decompress(frame)? else {
                    let pack = self.frames.as_ref().map_or(0, |frames| frames.whose.1);
                    log::error!("{pack:08}.pack: the frame at byte {} is damaged", frame.offset);
                    out.fill(0);
                    return Ok(());
                };
                let bytes = Arc::new(bytes);
                self.cache.frames.lock().put(key, bytes.clone());
                bytes
            }
        };
        out.copy_from_slice(&bytes[skip..skip + out.len()]);
        Ok(())
    }

    /// A frame's bytes, where they can be had.
    fn decompress(&self, frame: &FrameHeader) -> io::Result<Option<Vec<u8>>> {
        SCRATCH.with_borrow_mut(|(decompressor, payload)| {
            payload.resize(frame.stored as usize, 0);
            match self.file.fill_at(payload, frame.payload()) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(e) => return Err(e),
            }
            let bytes = decompressor.decompress(payload, frame.len as usize).ok();
            Ok(bytes.filter(|bytes| bytes.len() == frame.len as usize))
        })
    }
}

impl ReadAt for PackFile {
    fn size(&self) -> io::Result<u64> {
        match &self.frames {
            Some(frames) => Ok(frames.len.into()),
            None => Ok(self.file.metadata()?.len()),
        }
    }

    fn fill_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        let Some(frames) = &self.frames else { return self.file.fill_at(out, at) };
        if at.checked_add(out.len() as u64).is_none_or(|end| end > frames.len.into()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let first = frames.frames.partition_point(|frame| frame.end() <= at);
        let (mut rest, mut at) = (out, at);
        for (i, frame) in frames.frames.iter().enumerate().skip(first) {
            let gap = u64::from(frame.at).saturating_sub(at).min(rest.len() as u64);
            let (missing, others) = rest.split_at_mut(gap as usize);
            missing.fill(0);
            at += gap;
            let len = (frame.end() - at).min(others.len() as u64);
            let (part, others) = others.split_at_mut(len as usize);
            if part.is_empty() {
                rest = others;
                break;
            }
            self.read_frame(i, frame, (at - u64::from(frame.at)) as usize, part)?;
            at += len;
            rest = others;
        }
        rest.fill(0);
        Ok(())
    }
}
