//! What is looked at before a store is opened: whether all of its log is there.
//!
//! A log that is shorter than it is known to have been would be taken for a younger one: its version
//! numbers would be given out again, and what was in the missing part never be missed.

use super::error::{Error, Result};
use super::identity::Identity;
use super::layout::{LastSession, Layout};
use super::pack::{LogPos, Packs, PlaceNote, ReadAt};

/// Most spans of missing packs that are named.
const SPANS_MAX: usize = 8;

/// Checks that the packs of a store are all there.
///
/// # Errors
/// [`Error::Damaged`] where some are missing, shorter than they were, or of another store.
pub fn check(layout: &Layout, identity: &Identity, packs: &Packs, session: LastSession) -> Result<()> {
    layout.check_dirs()?;
    let numbers = packs.numbers()?;
    // Of an index that knows more, its opening tells.
    let synced = PlaceNote::read(&layout.synced())?.unwrap_or_default();
    let last = numbers.last().copied().unwrap_or(0).max(synced.pack());
    // A power loss may leave packs behind one that was not durable; recovery removes them.
    let durable = if session == LastSession::PowerLoss { synced.pack() } else { last };
    let missing = missing(&numbers, &identity.lost, durable);
    if !missing.is_empty() {
        return Err(Error::Damaged {
            what: format!("{} is missing from {}", name_packs(&missing), layout.packs().display()),
            advice: "put it back, or let `strata fsck` go on without it",
        });
    }
    if let Some((one, other)) = packs.at_odds()? {
        return Err(Error::Damaged {
            what: format!("{one} and {other} both have some of the same packs"),
            advice: "one of them is of another time: put the right one back, and the other elsewhere",
        });
    }
    let Some(&last) = numbers.last() else { return Ok(()) };
    check_store(identity, packs, &numbers)?;
    let file = packs.reopen(last)?;
    let path = packs.path(last);
    let len = file.size().map_err(|e| Error::io("stat", &path, e))?;
    if LogPos::new(last, u32::try_from(len).unwrap_or(u32::MAX)) < synced {
        return Err(Error::Damaged {
            what: format!("{} has {len} bytes, and had at least {}", path.display(), synced.offset()),
            advice: "put the right file back, or let `strata fsck` go on with what is left",
        });
    }
    Ok(())
}

/// Checks that the packs are those of the store that `strata.json` names.
fn check_store(identity: &Identity, packs: &Packs, numbers: &[u32]) -> Result<()> {
    let mut other = None;
    for &number in [numbers.first(), numbers.last()].into_iter().flatten() {
        match packs.open_any(number)?.whose() {
            Ok(Some((id, _))) if id == identity.id => return Ok(()),
            Ok(Some((id, _))) => other = Some(id),
            _ => {}
        }
    }
    match other {
        Some(id) => Err(Error::Damaged {
            what: format!("strata.json says that this is store {}, its packs are of {id}", identity.id),
            advice: "put the right file back, or let `strata fsck` restore it from the packs",
        }),
        None => Ok(()),
    }
}

/// The spans of packs from 1 to `last` that are neither there nor known to be lost; both are ascending.
pub fn missing(numbers: &[u32], lost: &[u32], last: u32) -> Vec<(u32, u32)> {
    let mut known: Vec<u32> = numbers.iter().chain(lost).copied().filter(|n| *n <= last).collect();
    known.sort_unstable();
    let mut spans = Vec::new();
    let mut next = 1;
    for number in known.into_iter().map(u64::from).chain([u64::from(last) + 1]) {
        if number > next {
            spans.push((next as u32, (number - 1) as u32));
        }
        next = next.max(number + 1);
    }
    spans
}

/// Packs, as a user is told of them.
pub fn name_packs(spans: &[(u32, u32)]) -> String {
    let name = |&(first, last): &(u32, u32)| match first == last {
        true => format!("{first:08}.pack"),
        false => format!("{first:08}.pack to {last:08}.pack"),
    };
    let mut names: Vec<String> = spans.iter().take(SPANS_MAX).map(name).collect();
    if spans.len() > SPANS_MAX {
        names.push("others".into());
    }
    names.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_packs_are_found_whatever_their_numbers() {
        assert_eq!(missing(&[1, 2, 3], &[], 3), []);
        assert_eq!(missing(&[], &[], 0), []);
        assert_eq!(missing(&[2, 5], &[3], 6), [(1, 1), (4, 4), (6, 6)]);
        assert_eq!(missing(&[1], &[], 3), [(2, 3)]);
        assert_eq!(missing(&[1, u32::MAX - 1], &[7, 9], u32::MAX - 1), [(2, 6), (8, 8), (10, u32::MAX - 2)]);
        assert_eq!(name_packs(&[(2, 2), (4, 6)]), "00000002.pack and 00000004.pack to 00000006.pack");
    }
}
