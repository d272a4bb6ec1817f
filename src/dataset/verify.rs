//! Verifying history: every version of a dataset is replayed in memory and compared with what its
//! record says.
//!
//! What is checked of each version: its number and the chain of ids; that its changes give its snapshot
//! id and directory hashes; of a rollback, that it has the tree of the version it names; that every
//! content it records is there and intact. Nothing is locked, so versions may be made meanwhile; those
//! are left to the next time.
//!
//! It does not look at the packs themselves: what is damaged there is given to it, see [`Known`].

mod contents;
#[cfg(test)]
mod tests;

use crate::model::{Body, Content, Ino, Name, Op, TreeHash, VersionId, VersionNo, VersionRecord};
use crate::store::{Error as StoreError, error::chain};

use super::dataset::Dataset;
use super::error::{Error, Result};
use super::frozen::Frozen;
use super::replay::Replay;
use super::retention::live::Keeping;

use contents::Bad;
pub use contents::{Damaged, Known};

/// Version numbers read at a time.
const PAGE: usize = 1024;
/// Most findings about files of one dataset that are reported one by one.
const REPORT_MAX: u64 = 10_000;

/// Something wrong with a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// Pack and offset of the damage it comes from, if that is known.
    pub place: Option<(u32, u64)>,
    /// The first version concerned; `None` where no version holds it yet.
    pub version: Option<VersionNo>,
    /// The path concerned, from the dataset's root.
    pub path: Option<Vec<Name>>,
    /// Whether the newest version still has the damaged content.
    pub newest: Option<bool>,
}

/// Verifies all versions up to the newest and reports what is wrong to `report`, which may break off by
/// an error. Gives the number of versions.
///
/// # Errors
/// Those of `report`, and where the index fails: that says nothing of the data. What cannot be read is a
/// finding.
pub fn verify_dataset<E: From<Error>>(
    dataset: &Dataset,
    known: Known<'_>,
    report: &mut dyn FnMut(Finding) -> Result<(), E>,
) -> Result<u64, E> {
    let newest = dataset.newest();
    let mut verifier = Verifier {
        dataset,
        known,
        report,
        replay: Replay::default(),
        previous: VersionId::ROOT,
        lost: false,
        newest: dataset.frozen(newest),
        keeping: Keeping::new(dataset, dataset.pruned()),
        reported: 0,
    };
    verifier.retention()?;
    let checked = verifier.versions(newest)?;
    verifier.pending()?;
    verifier.summary()?;
    Ok(checked)
}

struct Verifier<'a, E> {
    dataset: &'a Dataset,
    known: Known<'a>,
    report: &'a mut dyn FnMut(Finding) -> Result<(), E>,
    replay: Replay,
    /// Id of the version before.
    previous: VersionId,
    /// Whether the replayed tree is not that of the version before, because that could not be read.
    lost: bool,
    newest: Frozen,
    keeping: Keeping<'a>,
    reported: u64,
}

impl<E: From<Error>> Verifier<'_, E> {
    /// Checks the versions there are, and that there are all; gives their number.
    fn versions(&mut self, newest: VersionNo) -> Result<u64, E> {
        let mut next = VersionNo(1);
        let mut checked = 0;
        while next <= newest {
            let page = match self.dataset.store.version_numbers(self.dataset.id(), next, PAGE) {
                Ok(page) => page,
                Err(error @ StoreError::Index(_)) => return Err(Error::Store(error).into()),
                Err(error) => {
                    self.found(next, format!("the versions cannot be listed: {}", chain(&error)))?;
                    break;
                }
            };
            let page: Vec<VersionNo> = page.into_iter().filter(|number| *number <= newest).collect();
            for &number in &page {
                self.missing(next, number)?;
                self.version(number)?;
                checked += 1;
                next = number.next();
            }
            if page.is_empty() {
                self.missing(next, newest.next())?;
                break;
            }
        }
        self.index(newest)?;
        Ok(checked)
    }

    /// Reports that a record of what is kept is lost.
    fn retention(&mut self) -> Result<(), E> {
        if !self.dataset.has_lost_retention() {
            return Ok(());
        }
        let what =
            "a record of what is kept is lost: versions that it pruned show again, though not all of their \
                    content need be there, and pins, purges and settings of it are not known"
                .into();
        (self.report)(Finding { what, place: None, version: None, path: None, newest: None })
    }

    /// Reports the versions from `first` to before `next` as lost, if there are any.
    fn missing(&mut self, first: VersionNo, next: VersionNo) -> Result<(), E> {
        if first == next {
            return Ok(());
        }
        self.lost = true;
        let last = VersionNo(next.0 - 1);
        let what = match first == last {
            true => "its record is lost; what it changed is not known".into(),
            false => format!("the records of it to {last} are lost; what they changed is not known"),
        };
        self.found(first, what)
    }

    /// Checks that the index, which all is read by, has the tree that the records give.
    fn index(&mut self, newest: VersionNo) -> Result<(), E> {
        if newest == VersionNo::EMPTY || !self.dataset.lost().is_empty() {
            return Ok(());
        }
        let snapshot = Replay::load(&self.newest).and_then(|mut tree| tree.snapshot());
        let what = match (snapshot, self.replay.snapshot()) {
            (Ok(indexed), Ok(recorded)) if indexed == recorded => return Ok(()),
            (Err(error @ Error::Store(StoreError::Index(_))), _) => return Err(error.into()),
            (Ok(indexed), _) => {
                format!("the index has the tree {indexed}, which is not what the records give")
            }
            (Err(error), _) => format!("the index has not all of its tree: {}", chain(&error)),
        };
        self.found(newest, format!("{what} (`strata fsck` makes the index anew)"))
    }

    fn version(&mut self, number: VersionNo) -> Result<(), E> {
        let (id, record) = match self.dataset.version(number) {
            Ok(found) => found,
            Err(error @ Error::Store(StoreError::Index(_))) => return Err(error.into()),
            Err(error) => {
                self.lost = true;
                return self.found(number, format!("the record cannot be read: {}", chain(&error)));
            }
        };
        if !self.lost && record.previous != self.previous {
            self.found(number, "the version before it is not the one it names".into())?;
        }
        self.previous = id;
        let wrong = match self.tree(number, &record) {
            Ok(wrong) => wrong,
            Err(error @ Error::Store(StoreError::Index(_))) => return Err(error.into()),
            Err(error) => {
                self.lost = true;
                vec![format!("its tree cannot be read: {}", chain(&error))]
            }
        };
        wrong.into_iter().try_for_each(|what| self.found(number, what))?;
        self.contents(Some(number), &record.ops)
    }

    /// Brings the replayed tree to this version; gives what is wrong with it.
    fn tree(&mut self, number: VersionNo, record: &VersionRecord) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        if record.base.next() != number {
            self.lost |= record.base >= number;
            if record.base < number && !record.base.eq(&VersionNo::EMPTY) {
                let base = self.dataset.snapshot(record.base)?;
                if base != record.snapshot {
                    wrong.push(format!("its snapshot is not that of {}, which it restores", record.base));
                }
            }
            if !self.lost {
                let before = self.dataset.frozen(VersionNo(number.0 - 1));
                let restored = self.dataset.frozen(record.base);
                self.restore(&before, &restored)?;
            }
        }
        if std::mem::take(&mut self.lost) {
            self.replay = Replay::load(&self.dataset.frozen(number))?;
        } else {
            self.replay.apply(&record.ops);
        }
        let snapshot = self.replay.snapshot()?;
        // What a lost record changed is missing here, and is reported for that.
        if snapshot != record.snapshot && !self.dataset.frozen(number).is_patchy() {
            wrong.push(format!("its tree is {snapshot}, its record says {}", record.snapshot));
        }
        for (dir, hash) in &record.trees {
            let differs = self.replay.tree(*dir).is_some_and(|tree: TreeHash| tree != *hash);
            if differs && !self.dataset.frozen(number).is_patchy() {
                wrong.push(format!("the hash of directory {} is not what its record says", dir.0));
            }
        }
        Ok(wrong)
    }

    /// Changes the replayed tree from one version's to another's by looking at what was touched since
    /// their common past.
    fn restore(&mut self, before: &Frozen, restored: &Frozen) -> Result<()> {
        let common = super::history::common_past(before, restored);
        for tree in [before, restored] {
            for version in tree.versions_after(common) {
                for op in self.dataset.version(version)?.1.ops {
                    self.replay.take_over(&op, restored)?;
                }
            }
        }
        Ok(())
    }

    /// Checks the contents that changes record.
    fn contents(&mut self, version: Option<VersionNo>, ops: &[Op]) -> Result<(), E> {
        for op in ops {
            let Op::Inode { ino, inode } = op else { continue };
            // What pruned versions alone had may be gone.
            if let Some(version) = version
                && !self.keeping.needs(*ino, version)?
            {
                continue;
            }
            let Body::File(content) = &inode.body else { continue };
            if let Some(bad) = self.known.check(*ino, content) {
                self.bad_content(version, *ino, content, bad)?;
            }
            if let Some(bad) = inode.xattrs.as_deref().and_then(|xattrs| self.known.check_xattrs(xattrs)) {
                self.bad_content(version, *ino, content, bad)?;
            }
        }
        Ok(())
    }

    fn bad_content(
        &mut self,
        version: Option<VersionNo>,
        ino: Ino,
        content: &Content,
        bad: Bad,
    ) -> Result<(), E> {
        if bad.index_failed {
            return Err(Error::Store(StoreError::Index(bad.what)).into());
        }
        self.reported += 1;
        if self.reported > REPORT_MAX {
            return Ok(());
        }
        let path = match version {
            Some(_) => self.replay.path(ino),
            None => self.dataset.read(|live| live.path(ino)).ok().flatten(),
        };
        let newest = path.as_ref().map(|path| self.newest_has(path, content));
        (self.report)(Finding { what: bad.what, place: bad.place, version, path, newest })
    }

    fn newest_has(&self, path: &[Name], content: &Content) -> bool {
        let look = || {
            let Some((ino, _)) = self.newest.walk(path)? else { return Ok(false) };
            Ok::<_, Error>(self.newest.inode(ino)?.1.content() == Some(content))
        };
        look().unwrap_or(false)
    }

    /// Checks what no version holds yet.
    fn pending(&mut self) -> Result<(), E> {
        self.dataset.store.pending(self.dataset.id()).try_for_each(|pending| match pending {
            Ok((_, Ok(ops))) => self.contents(None, &ops),
            Ok((_, Err(error))) => self.bad_pending(&error),
            Err(error @ StoreError::Index(_)) => Err(Error::Store(error).into()),
            Err(error) => self.bad_pending(&error),
        })
    }

    fn bad_pending(&mut self, error: &StoreError) -> Result<(), E> {
        let what = format!("changes that no version holds yet cannot be read: {}", chain(error));
        (self.report)(Finding { what, place: None, version: None, path: None, newest: None })
    }

    fn summary(&mut self) -> Result<(), E> {
        match self.reported.checked_sub(REPORT_MAX) {
            Some(more @ 1..) => {
                let what = format!("{more} more files are damaged");
                (self.report)(Finding { what, place: None, version: None, path: None, newest: None })
            }
            _ => Ok(()),
        }
    }

    fn found(&mut self, version: VersionNo, what: String) -> Result<(), E> {
        (self.report)(Finding { what, place: None, version: Some(version), path: None, newest: None })
    }
}
