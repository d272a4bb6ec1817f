//! Joining small packs: which files of packs become one.
//!
//! A collection seals the pack that is written to, and so leaves a small one behind each time; one of which most was
//! garbage is small from then on. Each is a file that is opened, listed and kept open by itself. Neighbours among
//! them are written into one file ([`crate::store::pack`]), in which every record is where it was: the index and
//! the log's writer know nothing of it. It is done by the steps by which a pack is compressed ([`super`]), and by the
//! same thread or a collection: the new file is written beside the others, made durable, compared with them byte for
//! byte and renamed; once its name is durable they are removed. Wherever that is cut off, either they count or the
//! new file does, which both have the same; opening the store removes what does not.
//!
//! **Which.** At least four files that follow each other, each at most a quarter of a full pack on disk, at most a
//! full pack together, and with at least [`RATIO`] times as many bytes as the longest of them: about four of a like
//! length, as in size-tiered compaction (the logarithmic method of Bentley and Saxe, Decomposable Searching Problems
//! I, 1980; tiers of neighbours, as LSM trees have them, O'Neil and others 1996). So whenever a byte is copied, it is
//! then among at least three times as many: from [`UNIT`] up to a full pack that happens at most nine times, and up
//! to [`LEN_MAX`], which only packs reach that are mostly hollow or compress very well, twelve. Lengths are those
//! before compressing, which add up exactly; how many files are left follows the logarithm of the number of packs.
//!
//! `strata gc --all` joins whatever fits into a full pack, whatever the lengths: who asks for as little as can be
//! had pays for it each time, at most one full pack for each that is not full.
//!
//! **What it does not know:** the records of nothing in packs of which something was given back stay, as zeros that
//! take next to no room; and a list of what was forgotten stays, though nothing may need it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::{ControlFlow, Range};

use super::{Compactor, Done};
use crate::store::error::{Error, Result, chain};
use crate::store::pack::{Effort, MEMBERS_MAX, ReadAt, Span, rewrite, seal_size};

/// Fewest files that are joined.
const FEWEST: usize = 4;
/// They have so many times as many bytes together as the longest of them.
const RATIO: u64 = 3;
/// A file counts as of no fewer bytes: about what one takes on a disk.
const UNIT: u64 = 4096;
/// Most bytes in a file, before they are compressed: places in it are numbers of 32 bits.
const LEN_MAX: u64 = 1 << 30;
/// Most files joined at once: all are open then.
const FILES_MAX: usize = 256;

/// A file of packs that may be joined with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its packs.
    pub span: Span,
    /// Its bytes on disk.
    pub bytes: u64,
    /// Bytes of its packs before they were compressed.
    pub len: u64,
}

/// How much is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eagerness {
    /// What costs little over time.
    Amortised,
    /// All that fits into a full pack.
    All,
}

/// The files, of these, to be joined next; all in between are there and sealed where their numbers follow each other.
pub fn plan(files: &[Piece], eagerness: Eagerness) -> Option<Range<usize>> {
    (0..files.len()).find_map(|first| from(files, first, eagerness).map(|end| first..end))
}

/// Where the longest run ends that begins with a file and is to be joined.
fn from(files: &[Piece], first: usize, eagerness: Eagerness) -> Option<usize> {
    let full = u64::from(seal_size());
    let (mut bytes, mut len, mut longest, mut packs, mut end) = (0, 0, 0, 0, None);
    for (n, file) in files.iter().enumerate().skip(first).take(FILES_MAX) {
        let follows = n == first || files[n - 1].span.end() + 1 == *file.span.start();
        packs += (file.span.end() - file.span.start()) as usize + 1;
        bytes += file.bytes.max(UNIT);
        len += file.len.max(UNIT);
        longest = longest.max(file.len.max(UNIT));
        let is_small = eagerness == Eagerness::All || file.bytes <= full / 4;
        if !follows || !is_small || bytes > full || len > LEN_MAX || packs > MEMBERS_MAX {
            break;
        }
        let is_worth = n + 1 - first >= FEWEST && len >= RATIO * longest;
        if n > first && (is_worth || eagerness == Eagerness::All) {
            end = Some(n + 1);
        }
    }
    end
}

/// What is known of the files of packs, so that not all are opened again to find some to be joined.
#[derive(Debug, Default)]
pub struct Known {
    /// Bytes before compressing, by the number of the first pack, the last and the bytes on disk.
    pub lens: BTreeMap<(u32, u32, u64), u64>,
    /// First packs of files that are damaged, and left as they are.
    pub left: BTreeSet<u32>,
    /// The first pack that was not looked at when nothing was found to be joined.
    pub until: u32,
}

impl Compactor {
    /// Joins files of small packs until there are none to be joined, or no room to. Gives how many files there are
    /// fewer. `step` may break off.
    pub fn join(&self, eagerness: Eagerness, step: &mut dyn FnMut() -> ControlFlow<()>) -> Result<u64> {
        let mut fewer = 0;
        while step().is_continue() {
            match self.join_next(&mut self.done.lock(), eagerness) {
                Ok(Some(gone)) => fewer += gone,
                Ok(None) => break,
                Err(e @ Error::NoSpace(_)) => {
                    log::info!("small packs are left as they are: {}", chain(&e));
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(fewer)
    }

    /// Joins some files, if there are any to be joined; gives how many there are fewer.
    pub(super) fn join_next(&self, done: &mut Done, eagerness: Eagerness) -> Result<Option<u64>> {
        loop {
            let files = self.pieces(&mut done.known)?;
            let Some(range) = plan(&files, eagerness) else { return Ok(None) };
            let files = &files[range];
            let (Some(first), Some(last)) = (files.first(), files.last()) else { return Ok(None) };
            let span = *first.span.start()..=*last.span.end();
            let mut packs = Vec::new();
            let mut damaged = None;
            for file in files {
                match self.open(&file.span).and_then(|opened| self.packs_of(&opened, &file.span)) {
                    Ok(Some(some)) => packs.extend(some),
                    Ok(None) | Err(Error::Missing(_) | Error::Damaged { .. }) => {
                        damaged = Some(*file.span.start());
                        break;
                    }
                    Err(e) => return Err(e),
                }
            }
            if let Some(number) = damaged {
                let path = self.packs.path(number);
                log::error!("{}: damaged, and not joined with others: see strata verify", path.display());
                done.known.left.insert(number);
                continue;
            }
            let before = files.iter().map(|file| file.bytes).sum();
            self.need_room(before)?;
            let row = self.row(&span, packs).map_err(|e| Error::io("join", &self.layout.packs(), e))?;
            let effort = if *span.end() < done.best.next { Effort::Best } else { Effort::Usual };
            let after = self.put(&span, &row, |file| rewrite(&row, effort, file).map(Some))?;
            drop(row);
            self.note_saved(before, after.unwrap_or(before));
            self.packs.remove_covered(Some(&span))?;
            log::debug!(
                "{} files of packs are one: {}",
                files.len(),
                self.packs.path(*span.start()).display()
            );
            return Ok(Some(files.len() as u64 - 1));
        }
    }

    /// The files of packs that are sealed, durable and sound.
    fn pieces(&self, known: &mut Known) -> Result<Vec<Piece>> {
        let end = self.log.durable().pack();
        let files = self.packs.files()?.into_iter();
        let files = files.filter(|file| *file.end() < end && !known.left.contains(file.start()));
        let old = std::mem::take(&mut known.lens);
        let mut pieces = Vec::new();
        for span in files {
            let path = self.packs.path(*span.start());
            let bytes = fs::metadata(&path).map_err(|e| Error::io("stat", &path, e))?.len();
            let key = (*span.start(), *span.end(), bytes);
            let len = match old.get(&key) {
                Some(len) => *len,
                None => self.open(&span)?.size().map_err(|e| Error::io("stat", &path, e))?,
            };
            known.lens.insert(key, len);
            pieces.push(Piece { span, bytes, len });
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: u64 = 2 << 20;

    fn piece(number: u32, bytes: u64) -> Piece {
        Piece { span: number..=number, bytes, len: bytes }
    }

    fn join(files: &mut Vec<Piece>, range: Range<usize>) {
        let sum = |of: fn(&Piece) -> u64| files[range.clone()].iter().map(of).sum();
        let (bytes, len) = (sum(|f| f.bytes), sum(|f| f.len));
        let span = *files[range.start].span.start()..=*files[range.end - 1].span.end();
        files.splice(range, [Piece { span, bytes, len }]);
    }

    /// Joins all that is to be; gives how often the bytes of each pack were copied.
    fn join_all(files: &mut Vec<Piece>, eagerness: Eagerness, copied: &mut BTreeMap<u32, u32>) {
        while let Some(range) = plan(files, eagerness) {
            assert!(range.len() > 1);
            let packs = files[range.clone()].iter().flat_map(|file| file.span.clone());
            packs.for_each(|pack| *copied.entry(pack).or_default() += 1);
            join(files, range);
        }
    }

    #[test]
    fn equals_are_joined_by_fours_and_what_is_full_is_left() {
        let plan_of = |sizes: &[u64]| {
            let files: Vec<_> = (1..).zip(sizes).map(|(n, bytes)| piece(n, *bytes)).collect();
            plan(&files, Eagerness::Amortised)
        };
        assert_eq!(plan_of(&[9000; 3]), None);
        assert_eq!(plan_of(&[9000; 4]), Some(0..4));
        assert_eq!(plan_of(&[FULL, 9000, 9000, 9000, 9000, 9000, FULL]), Some(1..6));
        assert_eq!(plan_of(&[100_000, 9000, 9000, 9000]), None, "the longest is too long");
        assert_eq!(plan_of(&[100_000, 9000, 9000, 9000, 9000]), Some(1..5));
        assert_eq!(plan_of(&[1, 100, 4096, 5]), Some(0..4), "of a block or less, they are alike");
        assert_eq!(plan_of(&[FULL / 4; 4]), Some(0..4));
        assert_eq!(plan_of(&[FULL / 4 + 1; 9]), None);
    }

    #[test]
    fn packs_with_one_missing_between_them_are_not_joined() {
        let mut files: Vec<_> = [1, 2, 4, 5, 7, 8].map(|n| piece(n, 5000)).into();
        assert_eq!(plan(&files, Eagerness::Amortised), None);
        join_all(&mut files, Eagerness::All, &mut BTreeMap::new());
        assert_eq!(files.iter().map(|file| file.span.clone()).collect::<Vec<_>>(), [1..=2, 4..=5, 7..=8]);
    }

    #[test]
    fn what_is_hollow_is_joined_only_as_far_as_it_can_be_numbered() {
        let hollow = |number| Piece { span: number..=number, bytes: 3000, len: 64 << 20 };
        let mut files: Vec<_> = (1..=100).map(hollow).collect();
        join_all(&mut files, Eagerness::All, &mut BTreeMap::new());
        assert!(files.iter().all(|file| file.len <= LEN_MAX) && files.len() == 7, "{files:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        /// Whatever comes and in whatever order, few files are left and no byte is copied often.
        #[test]
        fn files_stay_few_and_copies_bounded(sizes in proptest::collection::vec(100u64..60_000, 1..1500), all: bool) {
            let (mut files, mut copied) = (Vec::new(), BTreeMap::new());
            let mut most = 0;
            for (n, bytes) in (1..).zip(&sizes) {
                files.push(piece(n, *bytes));
                if !all || n as usize == sizes.len() {
                    join_all(&mut files, Eagerness::Amortised, &mut copied);
                }
                most = most.max(files.iter().filter(|file| file.bytes < FULL / 4).count());
            }
            let levels = (FULL / UNIT).ilog(RATIO) + 1;
            prop_assert!(copied.values().all(|times| *times <= levels), "{:?}", copied.values().max());
            let small = files.iter().filter(|file| file.bytes < FULL / 4).count();
            prop_assert!(small <= 8 * levels as usize, "{small} of {}", sizes.len());
            prop_assert!(all || most <= 8 * levels as usize, "{most} of {}", sizes.len());
            let packs: Vec<u32> = files.iter().flat_map(|file| file.span.clone()).collect();
            prop_assert_eq!(packs, (1..=sizes.len() as u32).collect::<Vec<_>>());
        }
    }
}
