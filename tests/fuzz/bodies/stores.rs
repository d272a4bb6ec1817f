//! Whole stores that somebody else made: opened, read, repaired.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use stratafs::daemon::{Failure, Item, ObjectSpec, Request, Service, Sink};
use stratafs::dataset::Repo;
use stratafs::store::fuzzing::{Entry, Identity, Layout, LogPos, Manner, PlaceNote, Scanner, Step, recover};
use stratafs::store::{Error, FsckOptions, Payload, Problem, RecordKind, fsck};

use super::input::{Input, Script};
use super::logs::{self, Packs, STORE};
use super::records::check_entry;
use super::samples::{self, BY, scratch_dir};

fn write_packs(dir: &Path, packs: &Packs) {
    let packs_dir = dir.join("packs");
    fs::create_dir_all(&packs_dir).expect("make a directory");
    for (number, pack) in packs.packs.iter().enumerate() {
        fs::write(packs_dir.join(format!("{:08}.pack", number + 1)), &pack.bytes).expect("write a pack");
    }
}

/// The log, replayed in each manner: what gets into the index makes sense, what a store could have written
/// is taken whole, and once brought in order a log stays as it is.
pub fn recovery(bytes: &[u8]) {
    let packs = Packs::build(bytes);
    let (all, none) = (LogPos(u64::MAX), LogPos::default());
    let middle = LogPos::new(1, bytes.len() as u32 / 2);
    let manner = |trusted, synced, lenient| Manner { trusted, synced, lenient };
    let manners = [
        manner(all, none, false),
        manner(all, all, true),
        manner(none, none, false),
        manner(middle, middle, false),
    ];
    for manner in manners {
        let dir = scratch_dir();
        write_packs(dir.path(), &packs);
        match recover(dir.path(), STORE, manner) {
            Ok(entries) => {
                entries.iter().for_each(|(key, value)| check_entry(key, value));
                let again = recover(dir.path(), STORE, manner).expect("what was brought in order");
                assert!(entries == again, "{}", difference(&entries, &again));
            }
            Err(error) => {
                assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
                assert!(!packs.sound && !manner.lenient, "{error}");
            }
        }
        if packs.sound {
            for (number, pack) in packs.packs.iter().enumerate() {
                let path = dir.path().join(format!("packs/{:08}.pack", number + 1));
                assert!(
                    fs::read(&path).expect("read a pack") == pack.bytes,
                    "{} was changed",
                    path.display()
                );
            }
        }
    }
}

fn difference(one: &[Entry], other: &[Entry]) -> String {
    let only = |a: &[Entry], b: &[Entry]| a.iter().find(|entry| !b.contains(entry)).cloned();
    format!("{:?} became {:?}", only(one, other), only(other, one))
}

/// A store opened as it is, and another, of the same bytes, repaired first.
pub fn whole_store(bytes: &[u8]) {
    let mut input = Input(bytes);
    let flags = input.byte();
    let synced = (flags & 1 != 0).then(|| LogPos::new(u32::from(input.byte() % 3), input.u16().into()));
    let packs = Packs::build(input.0);
    let make = || {
        let dir = scratch_dir();
        let layout = Layout::new(dir.path());
        write_packs(dir.path(), &packs);
        Identity::new(STORE, Vec::new()).write(&layout).expect("write");
        if let Some(end) = synced {
            PlaceNote::create(&layout.synced()).expect("write");
            PlaceNote::open(&layout.synced()).expect("open").0.write(end);
        }
        if flags & 2 != 0 {
            fs::write(dir.path().join("open"), "of another boot").expect("write");
        }
        dir
    };
    let dir = make();
    if let Ok(repo) = Repo::open(dir.path(), false) {
        use_store(repo);
        drop(Repo::open(dir.path(), false).expect("a store that was open and closed"));
    }
    let dir = make();
    let before = intact(dir.path());
    if repair(dir.path()).is_ok() {
        let after = intact(dir.path());
        // After a loss of power, all that comes after what is torn goes.
        assert!(flags & 2 != 0 || before.is_subset(&after), "{:?} went", before.difference(&after));
        use_store(Repo::open(dir.path(), false).expect("a store that was repaired"));
        let found = repair(dir.path()).expect("a store that was repaired");
        assert!(found.is_empty(), "repaired, and still {found:?}");
    }
}

/// The kinds and hashes of the intact records of a store, but for footers.
fn intact(dir: &Path) -> BTreeSet<(u8, [u8; 32])> {
    let mut found = BTreeSet::new();
    for number in 1.. {
        let path = dir.join(format!("packs/{number:08}.pack"));
        let Ok(file) = fs::File::open(path) else { break };
        let mut scanner = Scanner::new(file, STORE, number, 0, u64::MAX).expect("begin a scan");
        while let Some(step) = scanner.step(|_| true).expect("read a pack") {
            if let Step::Record { header, payload: Payload::Intact(_), .. } = step
                && header.kind != RecordKind::Footer
            {
                found.insert((header.kind.number(), header.hash));
            }
        }
    }
    found
}

fn repair(dir: &Path) -> Result<Vec<Problem>, Error> {
    let mut problems = Vec::new();
    let report = &mut |problem| {
        problems.push(problem);
        Ok(())
    };
    fsck(dir, FsckOptions::default(), report)?;
    Ok(problems)
}

/// Collects an answer.
#[derive(Default)]
struct Answer(Vec<Item>);

impl Sink for Answer {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        self.0.push(item);
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

/// Most requests put to a store.
const REQUESTS_MAX: usize = 60;

/// Asks for all there is: answers or failures are both fine.
fn use_store(repo: Repo) {
    let repo = Arc::new(repo);
    let service = Service::new(repo.clone(), None);
    let ask = |request: Request| {
        let mut answer = Answer::default();
        drop(service.execute(BY, request, &mut answer));
        answer.0
    };
    ask(Request::Status { count_all: true });
    ask(Request::Verify);
    for dataset in repo.datasets().into_iter().take(4) {
        let name = dataset.name();
        ask(Request::Log { dataset: name.clone(), path: Vec::new(), follow: true, limit: Some(20) });
        ask(Request::Show { dataset: name.clone(), version: None, limit: None });
        let newest = ["latest", "prev"].map(|v| format!("{name}@{v}"));
        let mut wanted: Vec<String> = newest.into_iter().chain([name.to_string()]).collect();
        for _ in 0..REQUESTS_MAX {
            let Some(object) = wanted.pop() else { break };
            let Ok(object_spec) = ObjectSpec::parse(object.as_ref()) else { continue };
            let entries = ask(Request::List(object_spec.clone()));
            ask(Request::Cat(object_spec));
            let names = entries.iter().filter_map(|item| match item {
                Item::Entry(entry) if entry.size < 1 << 20 => std::str::from_utf8(&entry.name).ok(),
                _ => None,
            });
            wanted.extend(names.map(|name| format!("{object}/{name}")));
        }
        drop(dataset.commit(BY, None));
    }
    drop(repo.finish());
}

/// What stores are made of, with and without a note of what is durable, closed and after a power loss.
pub fn seeds() -> Vec<Vec<u8>> {
    let packs = logs::seeds();
    let heads: [&[u8]; 4] = [&[0], &[2], &[3, 1, 200, 0], &[1, 1, 0xff, 0xff]];
    let pairs = packs.iter().zip(heads.iter().cycle());
    let mut seeds: Vec<Vec<u8>> = pairs.map(|(pack, head)| Script::default().raw(head).raw(pack).0).collect();
    seeds.push(Script(vec![0]).raw(&[7]).block(&samples::noise(9, 200)).0);
    seeds
}
