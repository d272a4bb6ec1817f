//! Bundles that somebody altered are refused before anything of them is kept.

use std::fs;

use serde_json::Value;
use stratafs::model::{
    Body, ChunkHash, ChunkRef, Content, Inode, Kind, Op, TreeHash, VersionId, VersionRecord, codec,
};

use super::bundle::{history, text};
use crate::harness::*;

/// A bundle, frame by frame.
struct Frames {
    magic: Vec<u8>,
    /// Kind and payload of each but the last.
    all: Vec<(u8, Vec<u8>)>,
}

impl Frames {
    fn of(bundle: &[u8]) -> Frames {
        let (magic, mut rest) = bundle.split_at(16);
        let mut all = Vec::new();
        while !rest.is_empty() {
            let len = u64::from_be_bytes(rest[1..9].try_into().expect("8 bytes")) as usize;
            all.push((rest[0], rest[9..9 + len].to_vec()));
            rest = &rest[9 + len..];
        }
        assert_eq!(all.pop().map(|(kind, _)| kind), Some(b'E'));
        Frames { magic: magic.to_vec(), all }
    }

    /// The bundle, with a checksum that fits.
    fn whole(&self) -> Vec<u8> {
        let frame =
            |kind: u8, payload: &[u8]| [&[kind][..], &(payload.len() as u64).to_be_bytes(), payload].concat();
        let frames = self.all.iter().map(|(kind, payload)| frame(*kind, payload));
        let body: Vec<u8> = self.magic.iter().copied().chain(frames.flatten()).collect();
        let end = frame(b'E', blake3::hash(&body).as_bytes());
        [body, end].concat()
    }

    /// Where version `number` is, in bytes.
    fn place(&self, number: u64) -> usize {
        let before = self.all.iter().take_while(|(kind, payload)| {
            *kind != b'V'
                || codec::decode::<VersionRecord>("version", payload).expect("one").number.0 < number
        });
        self.magic.len() + before.map(|(_, payload)| 9 + payload.len()).sum::<usize>()
    }

    /// Alters the record of a version, and has those after it follow that.
    fn alter(&mut self, number: u64, how: impl Fn(&mut VersionRecord)) {
        let mut previous = None;
        for (_, payload) in self.all.iter_mut().filter(|(kind, _)| *kind == b'V') {
            let mut record: VersionRecord = codec::decode("version", payload).expect("a version");
            if let Some(previous) = previous {
                record.previous = previous;
            }
            if record.number.0 == number {
                how(&mut record);
            }
            *payload = codec::encode(&record);
            previous = Some(VersionId::of(payload));
        }
    }
}

/// A bundle that was altered or cut short anywhere is refused, and nothing lands.
#[test]
fn a_bundle_that_was_altered_is_refused() {
    let m = Mount::new();
    let d = m.dataset("d");
    d.write("f", noise(1, 300_000));
    d.write("g", "second");
    m.strata(&["tag", "d", "base"]).ok();
    let file = m.outside().join("d.bundle");
    m.strata(&["bundle", "d", "-o", text(&file)]).ok();
    let whole = fs::read(&file).expect("read");
    let other = Mount::new();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&file, bytes).expect("write");
        let said = other.strata(&["import", text(&file), "e"]).fails(1);
        assert!(said.contains("d.bundle"), "{what}: {said}");
        assert!(!other.point().join("e").exists(), "{what}");
        assert_eq!(other.status()["datasets"].as_array().map(Vec::len), Some(0));
    };
    for at in (0..whole.len()).step_by(whole.len() / 40).chain(whole.len() - 50..whole.len()).skip(1) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        refused(&bytes, &format!("byte {at}"));
    }
    for len in [20, 100, whole.len() / 2, whole.len() - 41, whole.len() - 1] {
        refused(&whole[..len], &format!("{len} bytes"));
    }
    refused(&[&whole[..], b"more"].concat(), "something behind it");
    // One that was made to fit: without its chunks.
    let mut frames = Frames::of(&whole);
    frames.all.retain(|(kind, _)| !matches!(kind, b'C' | b'Z'));
    refused(&frames.whole(), "no chunks");
    let mut frames = Frames::of(&whole);
    frames.all.push((b'X', b"what is to come".to_vec()));
    refused(&frames.whole(), "something of another kind");
    fs::write(&file, &whole).expect("write");
    other.strata(&["import", text(&file), "e"]).ok();
    assert_eq!(other.existing("e").log(), m.existing("d").log());
}

/// The inode of a file that a version wrote.
fn written(record: &mut VersionRecord) -> &mut Inode {
    let files = record.ops.iter_mut().filter_map(|op| match op {
        Op::Inode { inode, .. } if inode.kind() == Kind::File => Some(inode),
        _ => None,
    });
    files.last().expect("a file")
}

/// What there is in a store.
fn state(m: &Mount) -> [Value; 3] {
    let status = m.status();
    ["datasets", "archived", "unique_bytes"].map(|of| status[of].clone())
}

/// A version whose record was altered is told of, with its place, before anything is kept: also where all checksums
/// and ids were made to fit, in whatever of the record that the snapshot id stands for.
#[test]
fn a_version_that_is_not_what_it_says_is_refused() {
    let m = Mount::new();
    history(&m);
    let d = m.existing("d");
    d.write("same", "same");
    let newest = d.versions();
    m.strata(&["rollback", "d", "v4"]).ok();
    d.write("f", "x");
    m.strata(&["rollback", "d", &format!("v{newest}")]).ok();
    d.write("f", "at the end");
    let newest = d.versions();
    let (file, more) = (m.outside().join("d.bundle"), m.outside().join("more.bundle"));
    m.strata(&["bundle", "d", "-o", text(&file)]).ok();
    m.strata(&["bundle", "--since", "v2", "d", "-o", text(&more)]).ok();
    let (whole, since) = (fs::read(&file).expect("read"), fs::read(&more).expect("read"));
    let part = m.outside().join("part.bundle");
    m.strata(&["bundle", "d@v2", "-o", text(&part)]).ok();
    type How<'a> = (&'a str, u64, &'a dyn Fn(&mut VersionRecord));
    let other_content = Content::One(ChunkRef { hash: ChunkHash::of(b"other"), len: 5 });
    let ways: [How<'_>; 7] = [
        ("a snapshot id", newest, &|record| record.snapshot = TreeHash([7; 32])),
        ("a snapshot id in the midst", 5, &|record| record.snapshot = TreeHash([7; 32])),
        ("what a file holds", newest, &|record| written(record).body = Body::File(other_content.clone())),
        ("what a file held", 4, &|record| written(record).body = Body::File(other_content.clone())),
        ("an executable bit", newest, &|record| written(record).mode ^= 0o100),
        ("what was changed", 6, &|record| record.ops.clear()),
        ("what was restored", newest - 1, &|record| record.base.0 -= 4),
    ];
    let target = m.outside().join("altered.bundle");
    let other = Mount::new();
    let third = Mount::new();
    third.strata(&["import", text(&part), "e"]).ok();
    let log = third.existing("e").log();
    for (what, number, how) in ways {
        for (bundle, into) in [(&whole, &other), (&since, &third)] {
            let (before, mut frames) = (state(into), Frames::of(bundle));
            frames.alter(number, how);
            fs::write(&target, frames.whole()).expect("write");
            let said = into.strata(&["import", text(&target), "e"]).fails(1);
            let place = format!("altered.bundle: v{number} (at byte {})", frames.place(number));
            assert!(said.contains(&place) && said.contains("its tree is"), "{what}: {place}: {said}");
            assert_eq!(state(into), before, "{what}: nothing came into the store");
        }
        assert_eq!(third.existing("e").log(), log);
    }
    // Without the ids of those after it made to fit, it is the chain that breaks.
    let mut frames = Frames::of(&whole);
    let v6 = frames.all.iter_mut().filter(|(kind, _)| *kind == b'V').nth(5).expect("v6");
    let mut record: VersionRecord = codec::decode("version", &v6.1).expect("a version");
    record.message = Some("never said".into());
    v6.1 = codec::encode(&record);
    fs::write(&target, frames.whole()).expect("write");
    let said = other.strata(&["import", text(&target), "e"]).fails(1);
    assert!(said.contains(&format!("v7 (at byte {})", frames.place(7))), "{said}");
    assert!(said.contains("the version before it is not the v6 that it names"), "{said}");
    for (bundle, into) in [(&whole, &other), (&since, &third)] {
        fs::write(&target, bundle).expect("write");
        into.strata(&["import", text(&target), "e"]).ok();
        assert_eq!(into.existing("e").log(), d.log());
        into.strata(&["verify"]).ok();
    }
}
