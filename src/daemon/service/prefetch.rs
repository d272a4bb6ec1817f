//! Bringing a tree's bytes into the system's cache before they are wanted.

use crate::dataset::Error;
use crate::dataset::retention::gone::Gone;
use crate::model::{ChunkRef, Kind, Piece};
use crate::store::manifest::pieces_from;

use super::super::failure::Failure;
use super::super::object::ObjectSpec;
use super::super::protocol::{Item, Prefetched};
use super::read::Pages;
use super::report::Pace;
use super::{Service, Sink};

/// Chunks that are put in the order of the packs at a time: about 4 GiB of large files.
const CHUNKS: usize = 64 << 10;

impl Service {
    /// Reads all files of a tree, in the order of the packs, and reports.
    pub(super) fn prefetch(&self, object: &ObjectSpec, sink: &mut dyn Sink) -> Result<(), Failure> {
        let (store, objects) = (self.repo.store(), self.repo.objects());
        let tree = self.tree(object)?;
        let (ino, kind) = tree.find(object)?;
        let mut done = Prefetched::default();
        let mut chunks = Vec::new();
        let mut gone = Gone::new(store);
        let mut pace = Pace::new();
        let mut read = |chunks: &mut Vec<ChunkRef>, done: &mut Prefetched| -> Result<(), Failure> {
            done.bytes += chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>();
            done.lost += store.prefetch(std::mem::take(chunks))?;
            if pace.is_due() {
                sink.item(Item::Prefetching(*done))?;
            }
            Ok(())
        };
        let mut found = vec![(ino, kind)];
        while let Some((ino, kind)) = found.pop() {
            match kind {
                Kind::Dir => {
                    let mut pages = Pages::new(&tree, ino);
                    while let Some(page) = pages.next()? {
                        found.extend(page.into_iter().rev().map(|(_, ino, kind)| (ino, kind)));
                    }
                }
                Kind::File => {
                    let content = match tree.content(ino) {
                        Ok(content) => content,
                        // Removed since it was listed, or damaged.
                        Err(Error::Stale | Error::NotFound(_)) => continue,
                        Err(error) if error.is_damage() => continue,
                        Err(error) => return Err(error.into()),
                    };
                    if gone.is_of(&content) {
                        done.purged += content.size();
                        continue;
                    }
                    done.files += 1;
                    for piece in pieces_from(objects, &content, 0) {
                        match piece {
                            Ok((_, Piece::Data(chunk))) => chunks.push(chunk),
                            Ok(_) => {}
                            Err(error) => match Error::from(error) {
                                error if error.is_damage() => done.lost += content.size(),
                                error => return Err(error.into()),
                            },
                        }
                        if chunks.len() >= CHUNKS {
                            read(&mut chunks, &mut done)?;
                        }
                    }
                }
                _ => {}
            }
        }
        read(&mut chunks, &mut done)?;
        sink.item(Item::Prefetched(done))
    }
}
