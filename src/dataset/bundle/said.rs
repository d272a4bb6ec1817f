//! What was said of versions, in a bundle and where it goes: which tag and annotation records are new there.
//!
//! Of each tag, and of each key of a version's annotation, what came after what is there is new. What was said in
//! another way there stays as it is.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;

use crate::model::{AnnotationKey, AnnotationRecord, Remark, TagRecord, VersionNo, codec};

/// What of a bundle's tag records, which are in order, is to be added to those that are there.
pub fn new_tags(there: &[TagRecord], tags: Vec<TagRecord>) -> Vec<TagRecord> {
    let key = |tag: &TagRecord| codec::encode(&TagRecord { sequence: 0, ..tag.clone() });
    new(there, tags, |tag| tag.name.clone(), key)
}

/// The same of annotation records; of one of which some keys are new, these.
pub fn new_annotations(
    there: &[AnnotationRecord],
    annotations: Vec<AnnotationRecord>,
) -> Vec<AnnotationRecord> {
    let subject = |record: &AnnotationRecord| -> (VersionNo, Option<AnnotationKey>) {
        (record.version, record.remark.values.keys().next().cloned())
    };
    let key = |record: &AnnotationRecord| codec::encode(&AnnotationRecord { sequence: 0, ..record.clone() });
    let there: Vec<_> = there.iter().cloned().flat_map(parts).collect();
    let parts: Vec<_> = annotations.into_iter().flat_map(parts).collect();
    let mut joined: Vec<AnnotationRecord> = Vec::new();
    for part in new(&there, parts, subject, key) {
        match joined.last_mut().filter(|last| last.sequence == part.sequence) {
            Some(last) => {
                last.remark.message = last.remark.message.take().or(part.remark.message);
                last.remark.values.extend(part.remark.values);
            }
            None => joined.push(part),
        }
    }
    joined
}

/// A record for each thing that one says: the text, or one value.
fn parts(record: AnnotationRecord) -> impl Iterator<Item = AnnotationRecord> {
    let AnnotationRecord { remark: Remark { message, values }, .. } = record.clone();
    let text = message.map(|text| Remark { message: Some(text), values: BTreeMap::new() });
    let value = |(key, value)| Remark { message: None, values: BTreeMap::from([(key, value)]) };
    let remarks = text.into_iter().chain(values.into_iter().map(value));
    remarks.map(move |remark| AnnotationRecord { remark, ..record.clone() })
}

/// Of `said`, in order, what is not in `there`, and is not of a subject of which `there` has something else, or of
/// which something later is there.
fn new<T, S: Eq + Hash>(
    there: &[T],
    said: Vec<T>,
    subject: impl Fn(&T) -> S,
    key: impl Fn(&T) -> Vec<u8>,
) -> Vec<T> {
    let in_bundle: HashSet<_> = said.iter().map(&key).collect();
    let own = there.iter().filter(|one| !in_bundle.contains(&key(one)));
    let mut settled: HashSet<S> = own.map(&subject).collect();
    let there: HashSet<_> = there.iter().map(&key).collect();
    let mut new = Vec::new();
    for one in said.into_iter().rev() {
        if there.contains(&key(&one)) {
            settled.insert(subject(&one));
        } else if !settled.contains(&subject(&one)) {
            new.push(one);
        }
    }
    new.reverse();
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Author, DatasetId, Timestamp};

    /// What one says: version, text, values.
    type Told<'a> = (u64, Option<&'a str>, &'a [(&'a str, &'a str)]);

    fn record(sequence: u64, time: i64, (version, text, values): Told<'_>) -> AnnotationRecord {
        let value = |(key, value): &(&str, &str)| {
            (AnnotationKey::new(key).unwrap(), Some(value.to_string()).filter(|value| !value.is_empty()))
        };
        AnnotationRecord {
            dataset: DatasetId(1),
            sequence,
            version: VersionNo(version),
            time: Timestamp(time),
            author: Author::default(),
            remark: Remark { message: text.map(str::to_owned), values: values.iter().map(value).collect() },
        }
    }

    #[test]
    fn what_is_there_is_not_new() {
        let all = vec![
            record(1, 10, (1, Some("first"), &[("a", "1"), ("b", "1")])),
            record(2, 20, (1, None, &[("a", "2")])),
            record(3, 30, (2, None, &[("a", "1")])),
        ];
        assert_eq!(new_annotations(&[], all.clone()), all);
        assert_eq!(new_annotations(&all, all.clone()), []);
        for there in 1..3 {
            assert_eq!(new_annotations(&all[..there], all.clone()), all[there..]);
        }
    }

    #[test]
    fn what_was_said_otherwise_stays_key_by_key() {
        let own = record(1, 5, (1, None, &[("a", "own")]));
        let theirs = vec![
            record(1, 10, (1, Some("first"), &[("a", "1"), ("b", "1")])),
            record(2, 20, (1, None, &[("a", "2")])),
            record(3, 30, (2, None, &[("a", "1")])),
        ];
        let new = new_annotations(std::slice::from_ref(&own), theirs.clone());
        let first = record(1, 10, (1, Some("first"), &[("b", "1")]));
        assert_eq!(new, [first.clone(), theirs[2].clone()]);
        // Whatever numbers they came to have there.
        let there = [
            own,
            AnnotationRecord { sequence: 2, ..first },
            AnnotationRecord { sequence: 3, ..theirs[2].clone() },
        ];
        assert_eq!(new_annotations(&there, theirs.clone()), []);
        let more = [theirs, vec![record(4, 40, (1, Some(""), &[("b", "")]))]].concat();
        assert_eq!(new_annotations(&there, more.clone()), more[3..], "what is taken away goes away there");
    }
}
