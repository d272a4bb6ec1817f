//! Which versions rules keep, and why.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Rules, Span, Timestamp, VersionNo, VersionSet};

use super::super::dataset::Dataset;
use super::super::error::Result;

/// A version, and why it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The version.
    pub version: VersionNo,
    /// When it was made.
    pub time: Timestamp,
    /// Why it is kept; nothing keeps one that is dropped.
    pub keep: Vec<String>,
}

/// What rules come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The rules.
    pub rules: Rules,
    /// Every version that is not pruned already, newest first.
    pub versions: Vec<Planned>,
}

impl Plan {
    /// The versions that are dropped.
    pub fn dropped(&self) -> VersionSet {
        let dropped = self.versions.iter().filter(|planned| planned.keep.is_empty());
        VersionSet::of(dropped.map(|planned| Span { first: planned.version, last: planned.version }))
    }

    /// Keeps further versions, for this reason.
    pub fn keep(&mut self, versions: &[VersionNo], why: &str) {
        for planned in self.versions.iter_mut().filter(|planned| versions.contains(&planned.version)) {
            planned.keep.push(why.into());
        }
    }

    /// Number of versions that are kept.
    pub fn kept(&self) -> usize {
        self.versions.iter().filter(|planned| !planned.keep.is_empty()).count()
    }

    /// Whether nothing but the newest version is kept, and nobody said that so few are wanted.
    pub fn drops_everything(&self) -> bool {
        self.versions.len() > 1 && self.kept() <= 1 && self.rules.last == 0
    }
}

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;

/// The period of a kind that a time is in.
type Period = fn(Timestamp) -> String;

fn hour(time: Timestamp) -> String {
    time.0.div_euclid(HOUR).to_string()
}

fn day(time: Timestamp) -> String {
    time.0.div_euclid(DAY).to_string()
}

/// Weeks begin on Monday; 1970 began on a Thursday.
fn week(time: Timestamp) -> String {
    (time.0.div_euclid(DAY) + 3).div_euclid(7).to_string()
}

fn month(time: Timestamp) -> String {
    time.to_string().get(..7).unwrap_or_default().to_owned()
}

/// What rules say of versions and their times, newest first; `named`: why some are kept in any case.
pub(super) fn plan(
    rules: &Rules,
    versions: Vec<(VersionNo, Timestamp)>,
    named: &BTreeMap<VersionNo, Vec<String>>,
) -> Plan {
    let newest = versions.first().copied();
    let mut planned: Vec<Planned> = versions
        .iter()
        .map(|&(version, time)| Planned {
            version,
            time,
            keep: named.get(&version).cloned().unwrap_or_default(),
        })
        .collect();
    for (n, one) in planned.iter_mut().enumerate() {
        if n == 0 {
            one.keep.insert(0, "newest".into());
        }
        if (n as u64) < rules.last {
            one.keep.push("last".into());
        }
        let since = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        if let (Some(seconds), Some((_, newest))) = (rules.within, newest)
            && newest.0.saturating_sub(one.time.0) <= since(seconds)
        {
            one.keep.push("within".into());
        }
    }
    let periods: [(u64, &str, Period); 4] = [
        (rules.hourly, "hourly", hour),
        (rules.daily, "daily", day),
        (rules.weekly, "weekly", week),
        (rules.monthly, "monthly", month),
    ];
    for (count, name, period) in periods.into_iter().filter(|(count, ..)| *count > 0) {
        let mut seen = BTreeSet::new();
        for one in &mut planned {
            if seen.insert(period(one.time)) {
                if seen.len() as u64 > count {
                    break;
                }
                one.keep.push(name.into());
            }
        }
    }
    Plan { rules: rules.clone(), versions: planned }
}

impl Dataset {
    /// What these rules would keep, and what not. The newest version, pins and tags are kept in any case.
    pub fn plan_prune(&self, rules: &Rules) -> Result<Plan> {
        let pruned = self.pruned();
        let mut versions = Vec::new();
        for version in self.versions_from(VersionNo(1))?.into_iter().rev() {
            if !pruned.contains(version) {
                versions.push((version, self.version_time(version)?));
            }
        }
        let mut named: BTreeMap<VersionNo, Vec<String>> = BTreeMap::new();
        for (version, pin) in &self.retention.read().pins {
            let why = pin.message.as_ref().map_or("pinned".into(), |message| format!("pinned: {message}"));
            named.entry(*version).or_default().push(why);
        }
        for (name, tag) in self.tags() {
            named.entry(tag.version).or_default().push(format!("tag {name}"));
        }
        Ok(plan(rules, versions, &named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(rules: &str, times: &[i64], named: &[u64]) -> Vec<u64> {
        let versions: Vec<_> = times
            .iter()
            .enumerate()
            .map(|(n, t)| (VersionNo(n as u64 + 1), Timestamp(t * HOUR)))
            .rev()
            .collect();
        let named = named.iter().map(|v| (VersionNo(*v), vec!["pinned".to_owned()])).collect();
        let plan = plan(&rules.parse().unwrap(), versions, &named);
        let dropped = plan.dropped();
        (1..=times.len() as u64).filter(|v| !dropped.contains(VersionNo(*v))).collect()
    }

    #[test]
    fn rules_keep_what_they_say() {
        // Two a day for four days from Monday 1970-01-05, then one in the next week and month.
        let times = [96, 97, 120, 121, 144, 145, 168, 169, 264, 800];
        assert_eq!(kept("keep-last=3", &times, &[]), [8, 9, 10]);
        assert_eq!(kept("keep-last=1", &times, &[2, 5]), [2, 5, 10]);
        assert_eq!(kept("keep-daily=3", &times, &[]), [8, 9, 10]);
        assert_eq!(kept("keep-daily=5", &times, &[]), [4, 6, 8, 9, 10]);
        assert_eq!(kept("keep-hourly=99", &times, &[]), (1..=10).collect::<Vec<_>>());
        assert_eq!(kept("keep-weekly=99", &times, &[]), [8, 9, 10]);
        assert_eq!(kept("keep-monthly=99", &times, &[]), [9, 10]);
        assert_eq!(
            kept("keep-within=700h", &times, &[]),
            [3, 4, 5, 6, 7, 8, 9, 10]
                .map(|n: u64| n)
                .to_vec()
                .into_iter()
                .filter(|v| 800 - times[*v as usize - 1] <= 700)
                .collect::<Vec<_>>()
        );
        assert_eq!(kept("keep-tagged", &times, &[1]), [1, 10]);
        assert_eq!(kept("keep-last=1,keep-monthly=2", &times, &[]), [9, 10]);
    }

    #[test]
    fn what_would_drop_everything_is_known() {
        let versions = || vec![(VersionNo(2), Timestamp(1)), (VersionNo(1), Timestamp(0))];
        let plan = |rules: &str| super::plan(&rules.parse().unwrap(), versions(), &BTreeMap::new());
        assert!(plan("keep-tagged").drops_everything());
        assert!(!plan("keep-last=1").drops_everything());
        assert!(!plan("keep-hourly=1,keep-within=1s").versions[1].keep.is_empty());
    }
}
