//! Whether contents were purged, as a whole or in part.

use crate::model::Content;
use crate::store::Store;

use super::walk::Search;

/// Finds out which contents were purged; does without a look where nothing ever was.
pub struct Gone<'a>(Option<Search<'a>>);

impl<'a> Gone<'a> {
    /// One for a store.
    pub fn new(store: &'a Store) -> Gone<'a> {
        Gone(store.has_purged().then(|| Search::new(store, false, |hash| store.is_purged(hash))))
    }

    /// Whether a content, or a part of it, was purged. What cannot be read for another reason was not.
    pub fn is_of(&mut self, content: &Content) -> bool {
        self.0.as_mut().is_some_and(|purged| purged.content(content).unwrap_or(false))
    }
}
