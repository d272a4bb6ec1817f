use std::collections::BTreeMap;

use super::super::super::memtable::Value;
use super::*;
use crate::store::pack::Pos;

struct Index {
    root: tempfile::TempDir,
    sled: Option<Backing>,
    objects: Option<Objects>,
    /// What it ought to have.
    wanted: BTreeMap<Box<[u8]>, Value>,
}

impl Index {
    fn new() -> Index {
        let mut index = Index {
            root: tempfile::TempDir::new().unwrap(),
            sled: None,
            objects: None,
            wanted: BTreeMap::new(),
        };
        index.reopen();
        index
    }

    fn reopen(&mut self) {
        (self.objects, self.sled) = (None, None);
        let dir = self.root.path().join("index");
        let sled = Backing::open(&dir).unwrap();
        let objects = Objects::open(dir.join("objects"), &sled).unwrap();
        objects.remove_others().unwrap();
        self.objects = Some(objects);
        self.sled = Some(sled);
    }

    fn sled(&self) -> &Backing {
        self.sled.as_ref().unwrap()
    }

    fn objects(&self) -> &Objects {
        self.objects.as_ref().unwrap()
    }

    /// Puts objects with a value that comes from `salt`.
    fn put(&mut self, numbers: std::ops::Range<u32>, salt: u8) {
        let changes: BTreeMap<Box<[u8]>, Value> = numbers
            .map(|n| {
                let hash = blake3::hash(&n.to_be_bytes());
                (keys::object(hash.as_bytes()).into(), Some(Box::from([salt; Pos::BYTES])))
            })
            .collect();
        let applied: Vec<Changed<'_>> = changes.iter().map(|(key, value)| (&**key, value)).collect();
        self.objects().apply(self.sled(), &applied).unwrap();
        self.sled().flush().unwrap();
        self.wanted.extend(changes);
    }

    fn check(&self) {
        for (key, value) in &self.wanted {
            assert_eq!(self.objects().get(self.sled(), key).unwrap(), *value);
        }
    }

    fn files(&self) -> usize {
        fs::read_dir(self.root.path().join("index/objects")).map_or(0, |dir| dir.count())
    }

    fn alone(&self) -> usize {
        self.sled().page(b"c", b"d", 1000).unwrap().len()
    }
}

#[test]
fn few_objects_are_gathered_until_they_are_worth_a_run() {
    let mut index = Index::new();
    for n in 0..5 {
        index.put(n..n + 1, 1);
    }
    assert_eq!((index.alone(), index.files()), (5, 0));
    index.put(3..6, 2);
    assert_eq!((index.alone(), index.files()), (0, 1));
    index.check();
    index.put(2..4, 3);
    assert_eq!((index.alone(), index.files()), (2, 1));
    index.check();
    index.reopen();
    index.put(3..13, 4);
    assert_eq!((index.alone(), index.files()), (0, 2));
    index.check();
    index.reopen();
    index.check();
}

#[test]
fn an_index_full_of_objects_by_themselves_is_gone_on_with() {
    let mut index = Index::new();
    // As an older release leaves them.
    for n in 0..100_u32 {
        let key = keys::object(blake3::hash(&n.to_be_bytes()).as_bytes());
        let value: Value = Some(Box::from([1; Pos::BYTES]));
        index.sled().put(&key, value.as_deref().unwrap()).unwrap();
        index.wanted.insert(key.into(), value);
    }
    index.reopen();
    index.check();
    for round in 2..12 {
        index.put(u32::from(round) * 7..u32::from(round) * 7 + 30, round);
        index.check();
    }
    assert_eq!(index.alone(), 0);
}

#[test]
fn runs_are_merged_and_removed_once_that_is_durable() {
    let mut index = Index::new();
    for n in 0..40 {
        index.put(n * 5..n * 5 + 10, n as u8);
        let runs = index.objects().runs().len();
        assert!(runs < FANOUT * 4, "{runs} runs");
    }
    index.check();
    assert!(index.files() > index.objects().runs().len());
    index.objects().synced();
    assert_eq!(index.files(), index.objects().runs().len());
    index.check();
    // A run that was being written when the process died.
    fs::write(index.root.path().join("index/objects/999"), b"half of it").unwrap();
    index.reopen();
    assert_eq!(index.files(), index.objects().runs().len());
    index.check();
    index.put(0..30, 77);
    index.check();
}

#[test]
fn runs_of_one_size_are_merged_when_they_are_many_and_large_ones_never() {
    let unit = RUN_FROM as u64;
    assert_eq!(to_merge(&[]), 0);
    assert_eq!(to_merge(&[unit, unit]), 0);
    assert_eq!(to_merge(&[unit, unit, unit]), 3);
    assert_eq!(to_merge(&[unit * 3, unit * 3, unit]), 0);
    assert_eq!(to_merge(&[unit * 3, unit * 3, unit, unit, unit]), 3);
    assert_eq!(to_merge(&[unit * 9, unit * 3, unit * 3, unit * 4]), 3);
    assert_eq!(to_merge(&[unit, unit * 3, unit, unit * 9]), 4);
    assert_eq!(to_merge(&[unit * 27; 9]), 0);
}

#[test]
fn a_run_that_is_missing_or_damaged_is_an_error_of_the_index() {
    let mut index = Index::new();
    index.put(0..10, 1);
    let dir = index.root.path().join("index/objects");
    let path = fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    fs::write(&path, vec![0; 5000]).unwrap();
    let opened = |index: &Index| Objects::open(dir.clone(), index.sled()).map(|_| ()).unwrap_err();
    assert!(matches!(opened(&index), Error::Index(why) if why.contains("objects/1 is damaged")));
    fs::remove_file(&path).unwrap();
    assert!(matches!(opened(&index), Error::Index(why) if why.contains("cannot open")));
}
