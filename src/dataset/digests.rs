//! Digests of whole contents, computed once.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;

use crate::model::{Content, ContentId};
use crate::store::{Objects, b3sum, content_id, sha256};

use super::error::Result;

/// Digests kept: some 10 MiB.
const DIGESTS: usize = 64 << 10;

/// How content is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// What `b3sum` prints.
    Blake3,
    /// What `sha256sum` prints.
    Sha256,
}

/// Digests of whole contents that were asked for before.
#[derive(Debug)]
pub struct Digests(Mutex<LruCache<(ContentId, Algorithm), [u8; 32]>>);

impl Default for Digests {
    fn default() -> Self {
        Digests(Mutex::new(LruCache::new(NonZeroUsize::new(DIGESTS).unwrap_or(NonZeroUsize::MIN))))
    }
}

impl Digests {
    /// The digest of a content, in hexadecimal.
    pub fn of(&self, objects: &Objects, content: &Content, algorithm: Algorithm) -> Result<String> {
        let key = (content_id(content), algorithm);
        let known = self.0.lock().get(&key).copied();
        let digest = match (known, algorithm) {
            (Some(known), _) => known,
            (None, Algorithm::Blake3) => b3sum(objects, content)?,
            (None, Algorithm::Sha256) => sha256(objects, content)?,
        };
        if known.is_none() {
            self.0.lock().put(key, digest);
        }
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
