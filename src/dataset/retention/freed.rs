//! What a prune would free: objects of values that it drops, by what was changed in the versions that go, which
//! nothing else in the store has.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Content, Name, VersionSet};

use super::super::dataset::Dataset;
use super::super::error::Result;
use super::dropped::{Lost, each_dropped};
use super::live::{Keeping, find_needed};
use super::walk::Walker;

/// What a prune would free: bytes in all, and by path.
#[derive(Debug, Default)]
pub struct Freed {
    /// Bytes of chunks that nothing would need any more.
    pub bytes: u64,
    /// The same by path, most first.
    pub paths: Vec<(Vec<Name>, u64)>,
}

/// What would be freed if these versions of `dataset` were pruned besides.
pub fn freed_by(
    dataset: &Dataset,
    dropped: &VersionSet,
    datasets: &[Arc<Dataset>],
    extra: &[Content],
) -> Result<Freed> {
    if dropped.is_empty() {
        return Ok(Freed::default());
    }
    let store = &dataset.store;
    let pruned = dataset.pruned();
    let more = pruned.with(dropped.spans().iter().copied());
    let (mut before, mut after) = (Keeping::new(dataset, pruned), Keeping::new(dataset, more.clone()));
    let mut walker = Walker::new(store);
    let mut paths: Vec<Vec<Name>> = Vec::new();
    let mut numbers: HashMap<Vec<Name>, usize> = HashMap::new();
    let mut objects: HashMap<[u8; 32], (u32, usize)> = HashMap::new();
    each_dropped(dataset, &more, dropped, &mut |Lost { ino, at, inode, .. }| {
        // What was not needed before is not freed by this.
        if after.needs(ino, at)? || !before.needs(ino, at)? {
            return Ok(());
        }
        let path = dataset.frozen(at).path_of(ino, inode)?.unwrap_or_default();
        let number = *numbers.entry(path).or_insert_with_key(|path| {
            paths.push(path.clone());
            paths.len() - 1
        });
        // All of it: the value in its place may be one that was not needed before either.
        walker.inode(inode, &mut |hash, len| {
            objects.entry(*hash).or_insert((len, number));
            Ok(())
        })
    })?;
    find_needed(store, datasets, Some((dataset, dropped)), extra, &mut objects)?;
    // What was purged frees nothing any more.
    objects.retain(|hash, _| !store.is_purged(hash));
    let mut bytes = vec![0; paths.len()];
    objects.values().for_each(|(len, number)| bytes[*number] += u64::from(*len));
    let mut freed = Freed { bytes: bytes.iter().sum(), paths: paths.into_iter().zip(bytes).collect() };
    freed.paths.retain(|(_, bytes)| *bytes > 0);
    freed.paths.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(freed)
}
