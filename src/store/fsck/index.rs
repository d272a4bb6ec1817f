//! Whether the index is what a replay of the log gives, and what it still knows that the log does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::gap::Knows;
use super::scan::PackScan;
use super::{Fsck, Known, Outcome, Problem};
use crate::model::{
    AnnotationRecord, Author, DatasetId, DatasetRecord, Dirent, Ino, Name, Op, SalvagedVersion, TagRecord,
    TreeHash, VersionId, VersionNo, VersionRecord,
};
use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::index::change::{
    StoredInode, VersionMeta, decode, decode_checked, decode_inode, decode_pos, is_reclaimed,
};
use crate::store::index::{Index, Range, keys, list_aside, put_aside};
use crate::store::layout::{LastSession, sync_dir};
use crate::store::pack::{LogPos, Packs, Pos, RECORD_HEADER};
use crate::store::rebuild::remove_dir;
use crate::store::recovery::Recovery;

/// An index that was found.
pub(super) struct Source {
    pub index: Index,
    /// Up to where in the log it holds everything.
    pub from: LogPos,
    /// Whether it is the store's present one.
    pub present: bool,
}

/// What the log lacks and an index knows.
#[derive(Debug, Default)]
pub(super) struct Salvage {
    pub versions: BTreeMap<(DatasetId, VersionNo), SalvagedVersion>,
    pub datasets: Vec<DatasetRecord>,
    pub tags: Vec<TagRecord>,
    pub annotations: Vec<AnnotationRecord>,
    /// Datasets whose changes that no version held are lost.
    pub pending: BTreeSet<DatasetId>,
}

/// How two indexes differ.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    missing: u64,
    surplus: u64,
    other: u64,
}

impl Fsck<'_> {
    /// Opens what indexes there are; those that do not open are of no use.
    pub(super) fn open_sources(&mut self, store: StoreId) -> Result<()> {
        let mut open = |dir: PathBuf, present| match dir.exists().then(|| Index::open_as_is(&dir, store)) {
            Some(Ok((index, from))) => self.sources.push(Source { index, from, present }),
            Some(Err(e)) if present => self.index_error = Some(e.to_string()),
            _ => {}
        };
        open(self.layout.index(), true);
        let root = self.layout.root();
        let older = list_aside(root).map_err(|e| Error::io("list", root, e))?;
        for (_, path) in older.into_iter().rev() {
            open(path, false);
        }
        Ok(())
    }

    /// Up to where in the log the present index knows it.
    pub(super) fn watermark(&self) -> LogPos {
        self.sources.iter().filter(|s| s.present).map(|s| s.from).max().unwrap_or_default()
    }

    /// What an index has where packs are damaged.
    pub(super) fn knowledge(&mut self, troubled: &[PackScan]) -> Known {
        let packs: BTreeSet<u32> =
            troubled.iter().filter(|s| !(s.gaps.is_empty() && s.bad.is_empty())).map(|s| s.number).collect();
        let mut known = Known::new();
        if packs.is_empty() {
            return known;
        }
        for source in &self.sources {
            match knowledge_of(&source.index, &packs) {
                Ok(found) => {
                    known = found;
                    break;
                }
                Err(e) if source.present => self.index_error = Some(e.to_string()),
                Err(_) => {}
            }
        }
        for (number, records) in &mut known {
            let is_hit = |pos: &Pos| {
                let scan = troubled.iter().find(|scan| scan.number == *number);
                scan.is_some_and(|scan| {
                    let at = u64::from(pos.offset.saturating_sub(RECORD_HEADER));
                    scan.gaps.iter().any(|(from, to)| (*from..*to).contains(&at))
                        || scan.bad.iter().any(|bad| u64::from(*bad) == at)
                })
            };
            records.retain(|(pos, _)| is_hit(pos));
            records.sort_unstable_by_key(|(pos, _)| pos.offset);
            records.dedup_by_key(|(pos, _)| pos.offset);
        }
        known
    }

    /// Compares the index with what the log gives, and puts a new one in its place where it is another.
    pub(super) fn index(
        &mut self,
        store: StoreId,
        packs: &Packs,
        session: LastSession,
        end: LogPos,
    ) -> Result<()> {
        let dir = self.layout.root().join("index.new");
        remove_dir(&dir)?;
        let made = self.compare(store, packs, session, end, &dir);
        // sled's files must be closed before they are moved.
        self.sources.clear();
        let problem = match made {
            Ok(problem) => problem,
            Err(e) => {
                drop(remove_dir(&dir));
                return Err(e);
            }
        };
        let replace = problem.is_some() || self.options.rebuild_index;
        if self.options.dry_run || !replace {
            remove_dir(&dir)?;
        } else {
            put_aside(&self.layout.index())?;
            let to = self.layout.index();
            fs::rename(&dir, &to).map_err(|e| Error::io("rename", &dir, e))?;
            sync_dir(self.layout.root()).map_err(|e| Error::io("sync", self.layout.root(), e))?;
            // It is of this run of the system.
            self.layout.renew_session()?;
        }
        match problem {
            Some(what) => {
                let action = "made anew from the packs".into();
                self.problem(Problem::of("index", None, what, action, Outcome::Repaired))
            }
            None => Ok(()),
        }
    }

    fn compare(
        &mut self,
        store: StoreId,
        packs: &Packs,
        session: LastSession,
        end: LogPos,
        dir: &std::path::Path,
    ) -> Result<Option<String>> {
        let (fresh, _) = Index::open_as_is(dir, store)?;
        let replay = |index: &Index, from: LogPos| {
            let recovery = Recovery::new(&self.layout, store, packs, index, LogPos(u64::MAX), LogPos(0));
            recovery.lenient().replay(from)
        };
        replay(&fresh, LogPos::default())?;
        fresh.finish(|| Ok(end))?;
        let mut problem = self.index_error.take().or(match self.layout.index().exists() {
            true => None,
            false => Some("missing".into()),
        });
        let mut salvage = Salvage::default();
        for source in &self.sources {
            let current = source.present && source.from <= end;
            let looked = (|| {
                if current {
                    replay(&source.index, source.from)?;
                }
                salvage_versions(&source.index, &fresh, current, &mut salvage)?;
                if current {
                    salvage_datasets(&source.index, &fresh, &mut salvage)?;
                    salvage_tags(&source.index, &fresh, &mut salvage)?;
                    salvage_annotations(&source.index, &fresh, &mut salvage)?;
                }
                if source.present {
                    lost_pending(&source.index, &fresh, &mut salvage)?;
                }
                difference(&source.index, &fresh)
            })();
            if !source.present {
                continue;
            }
            problem = problem.or(match looked {
                Ok(found) if found == Difference::default() => None,
                // That of a machine that went down is made anew in any case.
                Ok(_) if session == LastSession::PowerLoss => None,
                Ok(Difference { missing, surplus, other }) => Some(format!(
                    "not what the packs give: {missing} entries are missing, {other} differ, {surplus} are too many"
                )),
                Err(e) => Some(e.to_string()),
            });
        }
        for &ds in &salvage.pending {
            let what = format!("changes of {} that no version held", name_of(&self.sources, ds));
            let found = Problem::of("packs", None, what, "they are lost".into(), Outcome::Lost);
            self.problems += 1;
            (self.report)(found)?;
        }
        for (ds, number) in salvage.versions.keys() {
            let what = format!("the record of {number} of {} is lost", name_of(&self.sources, *ds));
            let action = "restored from the index, but for author and message".into();
            let found = Problem::of("packs", None, what, action, Outcome::Repaired);
            self.problems += 1;
            (self.report)(found)?;
        }
        for record in &salvage.datasets {
            let what = format!("the settings of dataset '{}' are lost", record.name);
            let found = Problem::of("packs", None, what, "restored from the index".into(), Outcome::Repaired);
            self.problems += 1;
            (self.report)(found)?;
        }
        for record in &salvage.tags {
            let ds = name_of(&self.sources, record.dataset);
            let what = format!("the record of a change of tag '{}' of {ds} is lost", record.name);
            let found = Problem::of("packs", None, what, "restored from the index".into(), Outcome::Repaired);
            self.problems += 1;
            (self.report)(found)?;
        }
        for record in &salvage.annotations {
            let ds = name_of(&self.sources, record.dataset);
            let what = format!("the record of an annotation of {} of {ds} is lost", record.version);
            let found = Problem::of("packs", None, what, "restored from the index".into(), Outcome::Repaired);
            self.problems += 1;
            (self.report)(found)?;
        }
        self.salvage = salvage;
        Ok(problem)
    }
}

fn all(index: &Index) -> Range<'_> {
    Range::new(index, vec![0], vec![0xff])
}

fn knowledge_of(index: &Index, packs: &BTreeSet<u32>) -> Result<Known> {
    let mut known = Known::new();
    let mut note = |pos: Pos, knows| {
        if packs.contains(&pos.pack) {
            known.entry(pos.pack).or_default().push((pos, knows));
        }
    };
    let mut range = all(index);
    while let Some((key, value)) = range.next_entry()? {
        match key.split_first() {
            Some((b'c', hash)) => {
                // What was reclaimed lies nowhere.
                if let Ok(hash) = <[u8; 32]>::try_from(hash)
                    && !is_reclaimed(&value)
                {
                    note(decode_pos(&value)?, Knows::Object(hash));
                }
            }
            Some((b'v', _)) => {
                if let Some((ds, number)) = dataset_of(&key).zip(keys::tail8(&key)) {
                    let meta: VersionMeta = decode("version", &value)?;
                    note(meta.record, Knows::Version(ds, VersionNo(number)));
                }
            }
            Some((b'w', _)) => {
                if let Some((ds, sequence)) = dataset_of(&key).zip(keys::tail8(&key)) {
                    note(decode_pos(&value)?, Knows::Pending(ds, sequence));
                }
            }
            _ => {}
        }
    }
    Ok(known)
}

fn dataset_of(key: &[u8]) -> Option<DatasetId> {
    key.get(1..5)?.first_chunk().map(|id| DatasetId(u32::from_be_bytes(*id)))
}

/// Counts where `old` differs from `fresh`; what an index keeps of itself aside.
fn difference(old: &Index, fresh: &Index) -> Result<Difference> {
    let mut found = Difference::default();
    let (mut olds, mut news) = (all(old), all(fresh));
    let next = |range: &mut Range<'_>| loop {
        match range.next_entry()? {
            Some((key, _)) if key.first() == keys::META.first() => {}
            entry => return Ok::<_, Error>(entry),
        }
    };
    let (mut a, mut b) = (next(&mut olds)?, next(&mut news)?);
    loop {
        match (&a, &b) {
            (None, None) => return Ok(found),
            (Some((x, v)), Some((y, w))) if x == y => {
                found.other += u64::from(v != w);
                (a, b) = (next(&mut olds)?, next(&mut news)?);
            }
            (Some((x, _)), Some((y, _))) if x < y => {
                found.surplus += 1;
                a = next(&mut olds)?;
            }
            (_, None) => {
                found.surplus += 1;
                a = next(&mut olds)?;
            }
            (_, Some((y, _))) => {
                // An index that was made before there were summaries is not a damaged one.
                found.missing += u64::from(y.first() != Some(&keys::SUMMARY));
                b = next(&mut news)?;
            }
        }
    }
}

/// Collects the versions that `old` knows and `fresh` does not. `current`: it knows of all that came
/// after them.
fn salvage_versions(old: &Index, fresh: &Index, current: bool, into: &mut Salvage) -> Result<()> {
    let mut lost = BTreeMap::new();
    let mut range = old.scan(b"v");
    while let Some((key, value)) = range.next_entry()? {
        let Some((ds, number)) = dataset_of(&key).zip(keys::tail8(&key)) else { continue };
        let number = VersionNo(number);
        if fresh.get(&key)?.is_some() || into.versions.contains_key(&(ds, number)) {
            continue;
        }
        let meta: VersionMeta = decode("version", &value)?;
        if meta.base < number {
            lost.insert((ds, number), Some(blank(ds, number, &meta)));
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    for tag in [b"d", b"i", b"p", b"h"] {
        let mut range = old.scan(tag);
        while let Some((key, value)) = range.next_entry()? {
            take(old, &mut lost, &key, &value)?;
        }
    }
    let mut last = BTreeMap::new();
    last.extend(lost.keys().copied());
    for ((ds, number), salvaged) in lost {
        let Some(mut salvaged) = salvaged else {
            log::error!("{number} of dataset {}: the index does not have all of it either", ds.0);
            continue;
        };
        // Pending records that are still there came after the last version.
        if last.get(&ds) == Some(&number) && newest(old, ds)? == Some(number) && current {
            let pending = old.pending(keys::pendings(ds));
            salvaged.pending_from =
                pending.iter().filter_map(|key| keys::tail8(key)).min().unwrap_or(u64::MAX);
        }
        into.versions.insert((ds, number), salvaged);
    }
    Ok(())
}

fn newest(index: &Index, ds: DatasetId) -> Result<Option<VersionNo>> {
    Ok(index.last(&keys::versions(ds))?.and_then(|key| keys::tail8(&key)).map(VersionNo))
}

fn blank(ds: DatasetId, number: VersionNo, meta: &VersionMeta) -> SalvagedVersion {
    let record = VersionRecord {
        dataset: ds,
        number,
        previous: VersionId::ROOT,
        base: meta.base,
        snapshot: meta.snapshot,
        time: meta.time,
        author: Author::default(),
        message: None,
        trees: Vec::new(),
        ops: Vec::new(),
    };
    SalvagedVersion { id: VersionId::ROOT, pending_from: 0, record }
}

type Lost = BTreeMap<(DatasetId, VersionNo), Option<SalvagedVersion>>;

/// Adds what an entry of the index says to the version it is of; gives that up where the entry only
/// points to its record.
fn take(old: &Index, lost: &mut Lost, key: &[u8], value: &[u8]) -> Result<()> {
    let version = match key.first() {
        Some(b'h') => keys::tail8(key).map(VersionNo),
        _ => keys::version_at_end(key),
    };
    let Some((ds, version)) = dataset_of(key).zip(version) else { return Ok(()) };
    let Some(slot) = lost.get_mut(&(ds, version)) else { return Ok(()) };
    let Some(salvaged) = slot else { return Ok(()) };
    let inode = |at: std::ops::Range<usize>| key.get(at).and_then(keys::tail8).map(Ino);
    match (key.first(), inode(5..13)) {
        (Some(b'd'), Some(dir)) if !value.is_empty() => {
            let Dirent { name, ino, kind } = decode_checked("entry", value)?;
            salvaged.record.ops.push(Op::Link { dir, name, ino, kind });
        }
        (Some(b'd'), Some(dir)) => match name_before(old, key)? {
            Some(name) => salvaged.record.ops.push(Op::Unlink { dir, name }),
            None => *slot = None,
        },
        (Some(b'i'), Some(ino)) => match decode_inode(value)? {
            StoredInode::Here(inode) => salvaged.record.ops.push(Op::Inode { ino, inode }),
            StoredInode::InRecord(..) => *slot = None,
        },
        (Some(b'p'), Some(dir)) => {
            if let Ok(hash) = <[u8; 32]>::try_from(value) {
                salvaged.record.trees.push((dir, TreeHash(hash)));
            }
        }
        (Some(b'h'), _) if key.get(17) == Some(&keys::TAG_VERSION) => {
            if let Some(prefix) = key.get(5..17) {
                salvaged.id.0[..12].copy_from_slice(prefix);
            }
        }
        _ => {}
    }
    Ok(())
}

/// The name whose removal an entry tells of, which only the versions that have it tell.
fn name_before(old: &Index, key: &[u8]) -> Result<Option<Name>> {
    let mut range = old.scan(key.get(..29).unwrap_or(key));
    while let Some((_, value)) = range.next_entry()? {
        if !value.is_empty() {
            return Ok(Some(decode_checked::<Dirent>("entry", &value)?.name));
        }
    }
    Ok(None)
}

/// Collects the datasets of which `old` knows changes that no version held and `fresh` does not.
fn lost_pending(old: &Index, fresh: &Index, into: &mut Salvage) -> Result<()> {
    for key in old.pending(keys::all_pending()) {
        if let Some(ds) = dataset_of(&key)
            && fresh.get(&key)?.is_none()
        {
            into.pending.insert(ds);
        }
    }
    Ok(())
}

/// A dataset, as a user is told of it.
pub(super) fn name_of(sources: &[Source], ds: DatasetId) -> String {
    let find = |source: &Source| source.index.get(&keys::dataset(ds)).ok().flatten();
    let record = sources.iter().find_map(find);
    let record = record.and_then(|value| decode_checked::<DatasetRecord>("dataset record", &value).ok());
    record.map_or(format!("dataset {}", ds.0), |record| format!("dataset '{}'", record.name))
}

fn salvage_datasets(old: &Index, fresh: &Index, into: &mut Salvage) -> Result<()> {
    let mut range = old.scan(&keys::datasets());
    while let Some((key, value)) = range.next_entry()? {
        if fresh.get(&key)?.as_deref() != Some(&value) {
            into.datasets.push(decode_checked("dataset record", &value)?);
        }
    }
    Ok(())
}

fn salvage_tags(old: &Index, fresh: &Index, into: &mut Salvage) -> Result<()> {
    let mut range = old.scan(&keys::all_tags());
    while let Some((key, value)) = range.next_entry()? {
        if fresh.get(&key)?.is_none() {
            into.tags.push(decode_checked("tag record", &value)?);
        }
    }
    Ok(())
}

fn salvage_annotations(old: &Index, fresh: &Index, into: &mut Salvage) -> Result<()> {
    let mut range = old.scan(&keys::all_annotations());
    while let Some((key, value)) = range.next_entry()? {
        if fresh.get(&key)?.is_none() {
            into.annotations.push(decode_checked("annotation record", &value)?);
        }
    }
    Ok(())
}
