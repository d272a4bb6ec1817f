//! Numbers that name datasets, inodes and versions, and the [`View`] a version has of the index.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A dataset within a store; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DatasetId(pub u32);

impl DatasetId {
    /// The last one there can be: node numbers have 23 bits for it.
    pub const MAX: DatasetId = DatasetId((1 << 23) - 1);
}

/// An inode within a dataset, the same in all versions; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory of every dataset.
    pub const ROOT: Ino = Ino(1);
    /// The last one there can be: node numbers have 40 bits for it.
    pub const MAX: Ino = Ino((1 << 40) - 1);
}

/// A version's number within its dataset: 1, 2, … without gaps; 0 is the empty tree before v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionNo(pub u64);

impl VersionNo {
    /// The empty tree every dataset starts from.
    pub const EMPTY: VersionNo = VersionNo(0);
    /// The last one there can be.
    pub const MAX: VersionNo = VersionNo((1 << 56) - 1);

    /// The number after this one.
    pub fn next(self) -> VersionNo {
        VersionNo(self.0 + 1)
    }
}

impl fmt::Display for VersionNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// Version numbers `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Lowest version number.
    pub first: VersionNo,
    /// Highest version number.
    pub last: VersionNo,
}

/// What a version sees of the index: entries written in any of these spans, the newest winning.
///
/// Without rollbacks it is the one span `1..=n`. A rollback's record names the version whose tree it
/// takes up, so the versions in between drop out: after `v6` restored `v3`, `v7` sees `6..=7` and
/// `1..=3`. Spans are disjoint and ordered from newest to oldest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    spans: Vec<Span>,
}

impl View {
    /// The view of version `n` in a dataset whose rollbacks are `(version, restored version)`,
    /// ordered by version.
    pub fn of(n: VersionNo, rollbacks: &[(VersionNo, VersionNo)]) -> View {
        let mut spans = Vec::new();
        let mut last = n;
        while last > VersionNo::EMPTY {
            let before = rollbacks.partition_point(|&(at, _)| at <= last);
            let Some(&(at, restored)) = before.checked_sub(1).and_then(|i| rollbacks.get(i)) else {
                spans.push(Span { first: VersionNo(1), last });
                break;
            };
            spans.push(Span { first: at, last });
            last = restored;
        }
        View { spans }
    }

    /// The spans, newest first.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The versions after `start` that are in it, newest first.
    pub fn versions_after(&self, start: VersionNo) -> impl Iterator<Item = VersionNo> {
        let spans = self.spans.iter();
        spans.flat_map(move |s| (s.first.0.max(start.0 + 1)..=s.last.0).rev()).map(VersionNo)
    }

    /// The newest version that is in both.
    pub fn common(&self, other: &View) -> VersionNo {
        let mut common = VersionNo::EMPTY;
        for span in &self.spans {
            for other in &other.spans {
                let last = span.last.min(other.last);
                if last >= span.first.max(other.first) {
                    common = common.max(last);
                }
            }
        }
        common
    }

    /// The newest version in the view (0 if it is empty).
    pub fn newest(&self) -> VersionNo {
        self.spans.first().map_or(VersionNo::EMPTY, |s| s.last)
    }

    /// The newest version of this view that is in one of these spans, which are ascending (0 if none is).
    pub fn newest_of(&self, spans: &[Span]) -> VersionNo {
        let newest_in = |span: &Span| {
            let overlap = |own: &Span| (own.first.max(span.first), own.last.min(span.last));
            self.spans.iter().map(overlap).find(|(first, last)| first <= last).map(|(_, last)| last)
        };
        spans.iter().rev().find_map(newest_in).unwrap_or(VersionNo::EMPTY)
    }

    /// Whether entries written at `version` are part of this view.
    pub fn contains(&self, version: VersionNo) -> bool {
        self.spans.iter().any(|s| s.first <= version && version <= s.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(n: u64, rollbacks: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let rollbacks: Vec<_> = rollbacks.iter().map(|&(a, b)| (VersionNo(a), VersionNo(b))).collect();
        View::of(VersionNo(n), &rollbacks).spans().iter().map(|s| (s.first.0, s.last.0)).collect()
    }

    #[test]
    fn a_history_without_rollbacks_is_one_span() {
        assert_eq!(view(0, &[]), []);
        assert_eq!(view(5, &[]), [(1, 5)]);
    }

    #[test]
    fn a_rollback_hides_the_versions_between() {
        assert_eq!(view(5, &[(6, 3)]), [(1, 5)]);
        assert_eq!(view(6, &[(6, 3)]), [(6, 6), (1, 3)]);
        assert_eq!(view(7, &[(6, 3)]), [(6, 7), (1, 3)]);
    }

    #[test]
    fn the_newest_version_of_a_view_in_spans_is_found() {
        let newest = |n: u64, lost: &[(u64, u64)]| {
            let spans: Vec<Span> =
                lost.iter().map(|&(a, b)| Span { first: VersionNo(a), last: VersionNo(b) }).collect();
            View::of(VersionNo(n), &[(VersionNo(6), VersionNo(3))]).newest_of(&spans).0
        };
        assert_eq!(newest(9, &[]), 0);
        assert_eq!(newest(9, &[(4, 5)]), 0, "hidden by the rollback");
        assert_eq!(newest(5, &[(4, 4)]), 4);
        assert_eq!(newest(9, &[(2, 4)]), 3);
        assert_eq!(newest(9, &[(1, 1), (2, 7)]), 7);
        assert_eq!(newest(9, &[(1, 1), (12, 20)]), 1);
    }

    #[test]
    fn rollbacks_nest_and_may_restore_the_empty_tree() {
        assert_eq!(view(9, &[(6, 3), (8, 6)]), [(8, 9), (6, 6), (1, 3)]);
        assert_eq!(view(9, &[(6, 3), (8, 5)]), [(8, 9), (1, 5)]);
        assert_eq!(view(3, &[(3, 0)]), [(3, 3)]);
    }
}
