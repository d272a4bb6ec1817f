//! Making contents of bytes that come in order.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::BLOCK;
use super::stream::{ChunkStream, is_zero_piece};
use crate::model::content::CHUNK_MAX;
use crate::model::{Content, Piece};
use crate::store::chunker::next_cut;
use crate::store::error::{Error, Result};
use crate::store::manifest::{Objects, TreeBuilder};

/// Makes a content of bytes given in order, in bounded memory. With
/// [`Objects::hash_only`] nothing is stored: only the content's id is of use then.
pub struct Builder<'a> {
    objects: &'a Objects,
    stream: ChunkStream,
    tree: TreeBuilder<'a>,
}

impl<'a> Builder<'a> {
    /// Without any bytes yet.
    pub fn new(objects: &'a Objects) -> Builder<'a> {
        Builder { objects, stream: ChunkStream::default(), tree: TreeBuilder::new(objects) }
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for block in bytes.chunks(BLOCK) {
            self.stream.write(block);
            self.drain()?;
        }
        Ok(())
    }

    /// Adds zero bytes, in time that does not depend on how many.
    pub fn zeros(&mut self, count: u64) -> Result<()> {
        self.stream.zeros(count);
        self.drain()
    }

    /// Adds up to `len` bytes that `read` provides; gives how many it did.
    fn fill(
        &mut self,
        len: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Result<usize, Failed> {
        let len = self.stream.fill(len, read).map_err(Failed::Read)?;
        self.drain().map_err(Failed::Store)?;
        Ok(len)
    }

    /// The content of all bytes.
    pub fn finish(mut self) -> Result<Content> {
        self.stream.finish(self.objects.store())?;
        self.pass_on()?;
        self.tree.finish()
    }

    fn drain(&mut self) -> Result<()> {
        if self.stream.is_full() {
            self.stream.drain(self.objects.store())?;
            self.pass_on()?;
        }
        Ok(())
    }

    fn pass_on(&mut self) -> Result<()> {
        self.stream.pieces_mut().drain(..).try_for_each(|piece| self.tree.push(piece))
    }
}

/// What failed on the way from a file to the store.
enum Failed {
    Read(io::Error),
    Store(Error),
}

impl Failed {
    fn at(self, path: &Path) -> Error {
        match self {
            Failed::Read(error) => Error::io("read", path, error),
            Failed::Store(error) => error,
        }
    }
}

/// The content of all that `reader` gives; `path` names it in errors.
pub fn from_reader(objects: &Objects, path: &Path, mut reader: impl Read) -> Result<Content> {
    let mut builder = Builder::new(objects);
    loop {
        match builder.fill(CHUNK_MAX, |out| reader.read(out)) {
            Ok(0) => return builder.finish(),
            Ok(_) => {}
            Err(Failed::Read(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(failed) => return Err(failed.at(path)),
        }
    }
}

/// The contents of several runs of bytes, whose chunks go to the store together.
pub fn from_many(objects: &Objects, all: &[Vec<u8>]) -> Result<Vec<Content>> {
    let cuts: Vec<Vec<&[u8]>> = all.iter().map(|bytes| cut(bytes)).collect();
    let chunks: Vec<&[u8]> = cuts.iter().flatten().copied().filter(|chunk| !is_zero_piece(chunk)).collect();
    let refs = if chunks.is_empty() { Vec::new() } else { objects.store().put_chunks(&chunks)? };
    let mut refs = refs.into_iter().map(Piece::Data);
    let content = |chunks: &Vec<&[u8]>| {
        let mut tree = TreeBuilder::new(objects);
        for chunk in chunks {
            let piece = if is_zero_piece(chunk) { Some(Piece::Zeros(1)) } else { refs.next() };
            piece.map_or(Ok(()), |piece| tree.push(piece))?;
        }
        tree.finish()
    };
    cuts.iter().map(content).collect()
}

/// The chunks of a whole file.
fn cut(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let (chunk, rest) = bytes.split_at(next_cut(bytes));
        chunks.push(chunk);
        bytes = rest;
    }
    chunks
}

/// The content of an open file, at a cost that follows its data: holes are skipped. `path` names it in
/// errors.
pub fn from_file(objects: &Objects, path: &Path, file: &File) -> Result<Content> {
    from_file_watched(objects, path, file, &mut |_| Ok(()))
}

/// The same, with `watch` told each number of bytes that were passed.
///
/// # Errors
/// Also where `watch` fails.
pub fn from_file_watched(
    objects: &Objects,
    path: &Path,
    file: &File,
    watch: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Content> {
    let metadata = file.metadata().map_err(|error| Error::io("inspect", path, error))?;
    if metadata.len() <= CHUNK_MAX as u64 {
        let content = from_reader(objects, path, file)?;
        watch(content.size())?;
        return Ok(content);
    }
    let mut builder = Builder::new(objects);
    let mut at = 0;
    while at < metadata.len() {
        let data = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.min(metadata.len()),
            Err(Errno::NXIO) => metadata.len(),
            // A filesystem that does not tell has no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(error) => return Err(Error::io("find data in", path, error.into())),
        };
        builder.zeros(data - at)?;
        watch(data - at)?;
        let end = match seek(file, SeekFrom::Hole(data)) {
            Ok(hole) => hole.min(metadata.len()),
            Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => metadata.len(),
            Err(error) => return Err(Error::io("find holes in", path, error.into())),
        };
        at = data;
        while at < end {
            match builder.fill((end - at).min(BLOCK as u64) as usize, |out| file.read_at(out, at)) {
                // Cut short meanwhile.
                Ok(0) => return builder.finish(),
                Ok(len) => {
                    at += len as u64;
                    watch(len as u64)?;
                }
                Err(Failed::Read(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(failed) => return Err(failed.at(path)),
            }
        }
    }
    builder.finish()
}
