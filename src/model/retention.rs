//! What is kept of a dataset's history, and what was done about it: pins, prunes, purges and settings.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{DatasetId, Span, VersionNo};
use super::record::Author;
use super::time::Timestamp;

/// What a version is kept for; one that nothing keeps is dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The newest so many.
    pub last: u64,
    /// Of each of the newest so many hours that have any, the newest.
    pub hourly: u64,
    /// The same of days (UTC).
    pub daily: u64,
    /// The same of weeks, from Monday (UTC).
    pub weekly: u64,
    /// The same of months (UTC).
    pub monthly: u64,
    /// Those made so many seconds before the newest, or later.
    pub within: Option<u64>,
    /// Those that a tag names: they are kept anyway, but this says that they are enough.
    pub tagged: bool,
    /// How often the daemon applies this, in seconds, as a dataset's setting.
    pub every: Option<u64>,
}

impl Rules {
    /// Whether nothing is said of what is kept.
    pub fn is_empty(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly];
        counts.iter().all(|count| *count == 0) && self.within.is_none() && !self.tagged
    }
}

/// A time such as `90s`, `12h`, `30d` or `2w`.
///
/// # Errors
/// Says what was wanted instead.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(format!("'{text}' is no time: a number and s, m, h, d or w wanted, such as 30d")),
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(seconds));
    let seconds = seconds.filter(|s| (1..=1000 * 366 * 86_400).contains(s));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| format!("'{text}' is no time that can be: 1s to 1000 years"))
}

/// So many seconds as [`parse_span`] takes them, in the longest unit that fits.
fn show_span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "s"));
    format!("{}{name}", seconds / unit)
}

impl FromStr for Rules {
    type Err = String;

    /// Reads `keep-last=10,keep-daily=7,keep-within=30d,keep-tagged,every=1h`.
    fn from_str(text: &str) -> Result<Rules, String> {
        let mut rules = Rules::default();
        for part in text.split(',') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let count =
                || value.parse::<u64>().map_err(|_| format!("'{part}': a number wanted after {key}="));
            let span = || parse_span(value).map(|time| Some(time.as_secs()));
            match key {
                "keep-last" => rules.last = count()?,
                "keep-hourly" => rules.hourly = count()?,
                "keep-daily" => rules.daily = count()?,
                "keep-weekly" => rules.weekly = count()?,
                "keep-monthly" => rules.monthly = count()?,
                "keep-within" => rules.within = span()?,
                "keep-tagged" if value.is_empty() => rules.tagged = true,
                "every" => rules.every = span()?,
                _ => {
                    return Err(format!(
                        "'{part}' is no rule: keep-last=N, keep-hourly=N, keep-daily=N, keep-weekly=N, \
                         keep-monthly=N, keep-within=TIME, keep-tagged or every=TIME wanted"
                    ));
                }
            }
        }
        if rules.is_empty() {
            return Err(format!("'{text}' keeps nothing: keep-last=N or another rule wanted"));
        }
        Ok(rules)
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
        ];
        let mut parts: Vec<String> =
            counts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("keep-{name}={n}")).collect();
        parts.extend(self.within.map(|seconds| format!("keep-within={}", show_span(seconds))));
        parts.extend(self.tagged.then(|| "keep-tagged".to_owned()));
        parts.extend(self.every.map(|seconds| format!("every={}", show_span(seconds))));
        f.write_str(&parts.join(","))
    }
}

/// What was done about what is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionAction {
    /// A version is kept whatever rules say.
    Pin(VersionNo),
    /// It no longer is.
    Unpin(VersionNo),
    /// Versions were given up: first and last of each run, ascending.
    Prune {
        /// The versions.
        versions: Vec<(VersionNo, VersionNo)>,
        /// What was to be kept.
        rules: Rules,
    },
    /// The rules that the daemon applies; `None` for none.
    Rules(Option<Rules>),
    /// Content was removed for good from all versions.
    Purge {
        /// The paths and ids of contents it was asked of, as [`purged_text`](super::purged_text) writes them.
        what: String,
        /// Hashes of the chunks and manifest nodes removed.
        objects: Vec<[u8; 32]>,
    },
    /// The bytes that the files of the live tree may have; `None` for any number.
    Quota(Option<u64>),
}

/// A change in what is kept of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionRecord {
    /// The dataset.
    pub dataset: DatasetId,
    /// Orders the dataset's retention records: 1, 2, … over its whole life.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// By whom.
    pub author: Author,
    /// What the author says of it.
    pub message: Option<String>,
    /// What was done.
    pub action: RetentionAction,
}

/// Chunks and manifest nodes that the store forgot, because nothing that is kept needed them: they are not
/// found from here on, until they are stored again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimRecord {
    /// Their hashes.
    pub objects: Vec<[u8; 32]>,
}

/// A set of versions, as runs that are ascending and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionSet(Vec<Span>);

impl VersionSet {
    /// Of these, whatever their order.
    pub fn of(spans: impl IntoIterator<Item = Span>) -> VersionSet {
        let mut all: Vec<Span> = spans.into_iter().filter(|span| span.first <= span.last).collect();
        all.sort_unstable_by_key(|span| span.first);
        let mut set: Vec<Span> = Vec::new();
        for span in all {
            match set.last_mut() {
                Some(last) if span.first <= last.last.next() => last.last = last.last.max(span.last),
                _ => set.push(span),
            }
        }
        VersionSet(set)
    }

    /// Whether a version is in it.
    pub fn contains(&self, version: VersionNo) -> bool {
        let after = self.0.partition_point(|span| span.first <= version);
        after.checked_sub(1).is_some_and(|n| version <= self.0[n].last)
    }

    /// The runs.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// What is in both.
    pub fn and(&self, other: &VersionSet) -> VersionSet {
        let (mut both, mut own, mut others) =
            (Vec::new(), self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(a), Some(b)) = (own.peek(), others.peek()) {
            let span = Span { first: a.first.max(b.first), last: a.last.min(b.last) };
            both.extend((span.first <= span.last).then_some(span));
            if a.last < b.last {
                own.next()
            } else {
                others.next()
            };
        }
        VersionSet(both)
    }

    /// What is not in `other`.
    pub fn without(&self, other: &VersionSet) -> VersionSet {
        let mut left = Vec::new();
        for span in &self.0 {
            let mut first = other.first_outside(span.first);
            while first <= span.last {
                let next = other.first_from(first);
                let last = next.map_or(span.last, |next| span.last.min(VersionNo(next.0 - 1)));
                left.push(Span { first, last });
                first = other.first_outside(last.next());
            }
        }
        VersionSet(left)
    }

    /// The same with more.
    pub fn with(&self, more: impl IntoIterator<Item = Span>) -> VersionSet {
        VersionSet::of(self.0.iter().copied().chain(more))
    }

    /// The first version from `from` on that is not in it.
    pub fn first_outside(&self, from: VersionNo) -> VersionNo {
        let after = self.0.partition_point(|span| span.first <= from);
        match after.checked_sub(1).map(|n| self.0[n]) {
            Some(span) if from <= span.last => span.last.next(),
            _ => from,
        }
    }

    /// The last version up to `to` that is not in it; [`VersionNo::EMPTY`] where there is none but that.
    pub fn last_outside(&self, to: VersionNo) -> VersionNo {
        let after = self.0.partition_point(|span| span.first <= to);
        match after.checked_sub(1).map(|n| self.0[n]) {
            Some(span) if to <= span.last => VersionNo(span.first.0.saturating_sub(1)),
            _ => to,
        }
    }

    /// The first version from `from` on that is in it.
    pub fn first_from(&self, from: VersionNo) -> Option<VersionNo> {
        let run = self.0.get(self.0.partition_point(|span| span.last < from));
        run.map(|span| span.first.max(from))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, last: u64) -> Span {
        Span { first: VersionNo(first), last: VersionNo(last) }
    }

    #[test]
    fn sets_of_versions_join_what_touches() {
        let set = VersionSet::of([span(5, 6), span(1, 2), span(3, 3), span(9, 8)]);
        assert_eq!(set.spans(), [span(1, 3), span(5, 6)]);
        assert_eq!((0..8).filter(|v| set.contains(VersionNo(*v))).collect::<Vec<_>>(), [1, 2, 3, 5, 6]);
        assert_eq!([1, 4, 5, 7].map(|v| set.first_outside(VersionNo(v)).0), [4, 4, 7, 7]);
        assert_eq!([0, 1, 3, 4, 5, 7].map(|v| set.last_outside(VersionNo(v)).0), [0, 0, 0, 4, 4, 7]);
        let first_from = |v| set.first_from(VersionNo(v)).map(|version| version.0);
        assert_eq!([0, 2, 4, 6, 7].map(first_from), [Some(1), Some(2), Some(5), Some(6), None]);
        assert_eq!(set.with([span(4, 4)]).spans(), [span(1, 6)]);
    }

    #[test]
    fn sets_of_versions_are_cut_with_each_other() {
        let set = |bits: u32| {
            let one = |n: u64| span(n + 1, n + 1);
            VersionSet::of((0..7).filter(|n| bits >> n & 1 == 1).map(one))
        };
        for a in 0..128 {
            for b in 0..128 {
                assert_eq!(set(a).and(&set(b)), set(a & b), "{a:b} {b:b}");
                assert_eq!(set(a).without(&set(b)), set(a & !b), "{a:b} {b:b}");
            }
        }
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in ["keep-last=3", "keep-hourly=1,keep-monthly=12,keep-within=61s,keep-tagged,every=5s"] {
            assert_eq!(text.parse::<Rules>().unwrap().to_string(), text);
        }
        let within = |text: &str| format!("keep-within={text}").parse::<Rules>().unwrap().to_string();
        for (text, shown) in [("60s", "1m"), ("24h", "1d"), ("2w", "14d"), ("36h", "36h"), ("90m", "90m")] {
            assert_eq!(within(text), format!("keep-within={shown}"));
        }
        for bad in [
            "",
            "every=1h",
            "keep-last",
            "keep-last=-1",
            "keep-within=3",
            "keep-within=0s",
            "keep-all",
            "keep-tagged=1",
            "keep-last=0",
        ] {
            assert!(bad.parse::<Rules>().is_err(), "{bad}");
        }
        assert!(parse_span("99999999999999w").is_err());
    }
}
