//! What may have become garbage since the last collection.

use std::collections::{BTreeMap, HashSet};

use super::candidates::{Candidates, short};
use super::looked::{Looked, OPEN_MAX};
use super::{SHARE, Underway, size_of};
use crate::model::{DatasetId, RetentionAction, RetentionRecord, Span, VersionNo, VersionSet};
use crate::store::Store;
use crate::store::error::Result;
use crate::store::pack::{FooterEntry, RECORD_HEADER};

/// Bytes that may be given back for each value of an inode to be gone through, at least, where it is found out whether
/// they are needed: so that what is spent on it follows the garbage, however long a history is. It takes about 2
/// microseconds.
const BYTES_FOR_VALUE: u64 = 16;

/// Objects that may be garbage: none other is, in the packs that are looked at. What the last collection left
/// open and what was put since are among them from the start; what versions that were pruned since had is to be
/// added.
#[derive(Debug)]
pub struct Suspects {
    objects: HashSet<[u8; 32]>,
    /// The first pack that the last collection did not look at.
    since: u32,
    /// Values that it went through, or one before it.
    values: u64,
    too_many: bool,
}

/// Suspects, and what they come to.
#[derive(Debug)]
pub struct Weighed {
    /// To be looked for in all that is needed.
    pub candidates: Candidates,
    /// Their bytes.
    pub bytes: u64,
    /// Whether packs have so many of them that they would be rewritten if they are garbage, and these so many bytes
    /// that it is worth to find that out.
    pub is_worth_a_look: bool,
    pub(super) open: Vec<(u32, u32)>,
}

impl Suspects {
    /// Takes an object out that a version made since has; gives whether it was among them.
    pub fn clear(&mut self, hash: &[u8; 32]) -> bool {
        self.objects.remove(hash)
    }

    /// Adds an object that a version that was pruned since had.
    pub fn add(&mut self, hash: &[u8; 32]) {
        self.too_many |= self.objects.len() >= OPEN_MAX;
        if !self.too_many {
            self.objects.insert(*hash);
        }
    }
}

impl Store {
    /// What may be garbage by what the last collection found; `None` where that is not known, or is too much.
    pub fn suspects(&self, underway: &Underway<'_>) -> Result<Option<Suspects>> {
        let Some(looked) = Looked::read(&self.layout, self.id)?.filter(|l| l.before <= underway.end) else {
            return Ok(None);
        };
        let mut open: BTreeMap<u32, HashSet<u32>> = BTreeMap::new();
        for (pack, offset) in &looked.open {
            open.entry(*pack).or_default().insert(*offset);
        }
        let numbers = self.packs.numbers()?.into_iter();
        let numbers = numbers.filter(|n| *n < underway.end && (*n >= looked.before || open.contains_key(n)));
        let (since, values) = (looked.before, looked.values);
        let mut suspects = Suspects { objects: HashSet::new(), since, values, too_many: false };
        for pack in numbers {
            let Some(entries) = self.footer_of(pack)? else { return Ok(None) };
            let asked = open.get(&pack);
            let is_asked = |entry: &&FooterEntry| {
                pack >= looked.before || asked.is_some_and(|asked| asked.contains(&entry.offset))
            };
            for entry in entries.iter().filter(|e| e.header.kind.is_object()).filter(is_asked) {
                suspects.add(&entry.header.hash);
            }
            if suspects.too_many {
                return Ok(None);
            }
        }
        Ok(Some(suspects))
    }

    /// The versions of a dataset that were made since the last collection, newest first.
    pub fn versions_since(&self, suspects: &Suspects, ds: DatasetId) -> Result<Vec<VersionNo>> {
        let mut found = Vec::new();
        let mut number = self.last_version(ds)?;
        while number > VersionNo::EMPTY
            && let Some(meta) = self.version_meta(ds, number)?
            && meta.record.pack >= suspects.since
        {
            found.push(number);
            number = VersionNo(number.0 - 1);
        }
        Ok(found)
    }

    /// The versions of a dataset that were pruned since the last collection.
    ///
    /// # Errors
    /// Where one of the records cannot be read.
    pub fn pruned_since(&self, suspects: &Suspects, ds: DatasetId) -> Result<VersionSet> {
        let mut pruned = Vec::new();
        for record in self.retentions_from(ds, suspects.since)? {
            let RetentionRecord { action: RetentionAction::Prune { versions, .. }, .. } = record? else {
                continue;
            };
            pruned.extend(versions.into_iter().map(|(first, last)| Span { first, last }));
        }
        Ok(VersionSet::of(pruned))
    }

    /// What the suspects come to; `None` where they are too many, or there is damage where they are.
    pub fn weigh(&self, underway: &mut Underway<'_>, suspects: &Suspects) -> Result<Option<Weighed>> {
        if suspects.too_many {
            return Ok(None);
        }
        let mut by_pack: BTreeMap<u32, Vec<(u32, u64)>> = BTreeMap::new();
        let mut hashes = Vec::with_capacity(suspects.objects.len());
        for hash in &suspects.objects {
            // One that is gone needs no look, and one that was put again since is looked at by the next.
            let Some(pos) = self.object_pos(hash)?.filter(|pos| pos.pack < underway.end) else { continue };
            let size = u64::from(RECORD_HEADER) + u64::from(pos.stored);
            by_pack.entry(pos.pack).or_default().push((pos.offset.saturating_sub(RECORD_HEADER), size));
            hashes.push(short(hash));
        }
        let (mut open, mut bytes) = (Vec::new(), 0);
        let mut by_file: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for (pack, suspected) in &by_pack {
            let here: u64 = suspected.iter().map(|(_, size)| size).sum();
            bytes += here;
            open.extend(suspected.iter().map(|(offset, _)| (*pack, *offset)));
            by_file.entry(*self.packs.span(*pack).start()).or_default().0 += here;
        }
        for (first, (_, total)) in &mut by_file {
            for pack in self.packs.span(*first) {
                let Some(entries) = self.footer_of(pack)? else { return Ok(None) };
                *total += entries.iter().map(size_of).sum::<u64>();
            }
        }
        let to_gain: u64 =
            by_file.values().filter(|(here, all)| *here >= all / SHARE).map(|(here, _)| here).sum();
        let is_worth_a_look = to_gain > 0 && to_gain >= suspects.values.saturating_mul(BYTES_FOR_VALUE);
        underway.note_values(suspects.values);
        let candidates = Candidates::new(by_pack.into_keys().collect(), hashes);
        Ok(Some(Weighed { candidates, bytes, is_worth_a_look, open }))
    }
}
