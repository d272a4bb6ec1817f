//! Texts for programs about a version: which files there are, their hashes, figures, and a description in the
//! [Croissant](https://docs.mlcommons.org/croissant/docs/croissant-spec.html) format.
//!
//! A text depends on a directory of a version alone (that of Croissant on what is said of the version too). It is
//! made as a whole when it is first asked for, since whoever looks at it wants its size, and kept for a while.
//! Making one may read every file; who asks must be able to wait.

mod croissant;
mod lists;
mod shapes;
mod stats;
mod table;
mod terms;
mod text;
mod walk;

use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::model::hash::hex;
use crate::model::{Content, DatasetId, Ino, VersionNo};
use crate::store::{self, Objects};

use super::dataset::Dataset;
use super::digests::{Algorithm, Digests};
use super::error::Result;
use super::frozen::Frozen;

pub use text::Text;

/// Texts kept. A long one is a file, so that this bounds memory and open files.
const KEPT: usize = 32;

/// A text about a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum About {
    /// `croissant.json`.
    Croissant,
    /// `manifest.jsonl`.
    Manifest,
    /// `sha256sums`.
    Sha256Sums,
    /// `stats.json`.
    Stats,
}

impl About {
    /// All of them, by file name.
    pub const ALL: [About; 4] = [About::Croissant, About::Manifest, About::Sha256Sums, About::Stats];

    /// Counts what changes such texts though versions do not: what is said of these, and purges.
    pub fn state(self, dataset: &Dataset) -> u64 {
        let said = if self == About::Croissant { dataset.said() } else { 0 };
        said + dataset.store.purged_count()
    }

    /// The name of its file.
    pub fn file_name(self) -> &'static str {
        match self {
            About::Croissant => "croissant.json",
            About::Manifest => "manifest.jsonl",
            About::Sha256Sums => "sha256sums",
            About::Stats => "stats.json",
        }
    }
}

/// A text, and who may read it.
#[derive(Debug)]
pub struct Told {
    /// The text.
    pub text: Text,
    /// Whether everybody could read all that it is made of.
    pub open: bool,
}

/// What a text is about: a dataset, a version, a directory, and the state of what else it depends on.
type Key = (DatasetId, VersionNo, Ino, About, u64);

/// Where a text is put by who makes it, and waited for by others.
type Place = Mutex<Option<Arc<Told>>>;

/// Texts that were made, and one lock for each that is being made.
#[derive(Debug)]
pub struct Texts {
    digests: Arc<Digests>,
    kept: Mutex<LruCache<Key, Arc<Place>>>,
}

impl Texts {
    /// None yet.
    pub fn new(digests: Arc<Digests>) -> Texts {
        let kept = LruCache::new(NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN));
        Texts { digests, kept: Mutex::new(kept) }
    }

    /// A text about directory `dir` of a version. Who asks for one that is being made waits for it.
    ///
    /// # Errors
    /// Where something that it is made of cannot be read, or it cannot be written.
    pub fn get(&self, dataset: &Dataset, version: VersionNo, dir: Ino, about: About) -> Result<Arc<Told>> {
        let key = key(dataset, version, dir, about);
        let place = self.kept.lock().get_or_insert(key, Arc::default).clone();
        let mut told = place.lock();
        if let Some(told) = &*told {
            return Ok(told.clone());
        }
        let tree = dataset.frozen(version);
        let maker = Maker { dataset, tree: &tree, dir, digests: &self.digests };
        Ok(told.insert(Arc::new(maker.make(about)?)).clone())
    }

    /// Whether a text was made, so that asking for it takes no time.
    pub fn has(&self, dataset: &Dataset, version: VersionNo, dir: Ino, about: About) -> bool {
        let place = self.kept.lock().peek(&key(dataset, version, dir, about)).cloned();
        place.is_some_and(|place| place.try_lock().is_some_and(|told| told.is_some()))
    }
}

fn key(dataset: &Dataset, version: VersionNo, dir: Ino, about: About) -> Key {
    (dataset.id(), version, dir, about, about.state(dataset))
}

/// Makes a text.
struct Maker<'a> {
    dataset: &'a Dataset,
    tree: &'a Frozen,
    dir: Ino,
    digests: &'a Digests,
}

impl Maker<'_> {
    fn make(&self, about: About) -> Result<Told> {
        let mut out = text::Spool::new(&self.dataset.store.scratch_dir());
        let mut open = self.tree.inode(self.dir)?.1.mode & 0o005 == 0o005;
        let mut stats = stats::Stats::default();
        let mut croissant = croissant::Croissant::new(self);
        walk::walk(self.tree, self.dir, self.digests, &mut |found| {
            let needed = match found.inode.kind() {
                crate::model::Kind::Dir => 0o005,
                crate::model::Kind::File => 0o004,
                _ => 0,
            };
            open &= found.inode.mode & needed == needed;
            match about {
                About::Manifest => lists::manifest(self, &found, &mut out),
                About::Sha256Sums => lists::sha256sums(self, &found, &mut out),
                About::Stats => {
                    stats.take(&found);
                    Ok(())
                }
                About::Croissant => croissant.take(&found),
            }
        })?;
        match about {
            About::Stats => self.pretty(&mut out, &stats.finish())?,
            About::Croissant => self.pretty(&mut out, &croissant.finish()?)?,
            About::Manifest | About::Sha256Sums => {}
        }
        let text = out.finish().map_err(|e| self.failed(e))?;
        Ok(Told { text, open })
    }

    fn objects(&self) -> &Arc<Objects> {
        self.dataset.objects()
    }

    fn digest(&self, content: &Content, algorithm: Algorithm) -> Result<String> {
        self.digests.of(self.objects(), content, algorithm)
    }

    fn json<T: Serialize>(&self, out: &mut dyn Write, value: &T) -> Result<()> {
        serde_json::to_writer(out, value).map_err(|e| self.failed(e.into()))
    }

    fn pretty<T: Serialize>(&self, out: &mut dyn Write, value: &T) -> Result<()> {
        serde_json::to_writer_pretty(&mut *out, value).map_err(|e| self.failed(e.into()))?;
        self.write(out, b"\n")
    }

    fn write(&self, out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
        out.write_all(bytes).map_err(|e| self.failed(e))
    }

    fn failed(&self, error: std::io::Error) -> super::error::Error {
        store::Error::io("write a text in", &self.dataset.store.scratch_dir(), error).into()
    }
}

/// A name or path as text: lossy where it is not UTF-8, and then with its bytes in hexadecimal beside it.
fn text_of(name: &[u8]) -> (String, Option<String>) {
    let lossy = std::str::from_utf8(name).is_err();
    let bytes = lossy.then(|| hex(name));
    (String::from_utf8_lossy(name).into_owned(), bytes)
}
