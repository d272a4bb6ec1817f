//! Digests of whole contents, computed once.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::model::hash::hex;
use crate::model::{Content, ContentId};
use crate::store::{self, Objects, b3sum, content_id, for_each_block};

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
pub struct Digests {
    known: Mutex<LruCache<(ContentId, Algorithm), [u8; 32]>>,
    stop: AtomicBool,
}

impl Default for Digests {
    fn default() -> Self {
        let capacity = NonZeroUsize::new(DIGESTS).unwrap_or(NonZeroUsize::MIN);
        Digests { known: Mutex::new(LruCache::new(capacity)), stop: AtomicBool::new(false) }
    }
}

impl Digests {
    /// Breaks off what may take long, and has nothing such be begun any more.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether nothing that may take long is to be begun.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn sha256(&self, objects: &Objects, content: &Content) -> Result<[u8; 32]> {
        let mut hasher = Sha256::new();
        for_each_block(objects, content, |block| {
            if self.is_stopped() {
                return Err(store::Error::Refused("hashing, as the store is being closed".into()));
            }
            hasher.update(block);
            Ok(())
        })?;
        Ok(hasher.finalize().into())
    }

    /// The digest of a content, in hexadecimal.
    pub fn of(&self, objects: &Objects, content: &Content, algorithm: Algorithm) -> Result<String> {
        let key = (content_id(content), algorithm);
        let known = self.known.lock().get(&key).copied();
        let digest = match (known, algorithm) {
            (Some(known), _) => known,
            (None, Algorithm::Blake3) => b3sum(objects, content)?,
            (None, Algorithm::Sha256) => self.sha256(objects, content)?,
        };
        if known.is_none() {
            self.known.lock().put(key, digest);
        }
        Ok(hex(&digest))
    }
}
