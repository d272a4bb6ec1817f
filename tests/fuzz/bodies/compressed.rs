//! Files of compressed packs.
//!
//! A fuzzer's bytes are taken as such a file; and as what says which frames one has, whose checksums are made
//! to fit, and what is then done to it.

use std::fs::File;
use std::io::Seek;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use stratafs::store::fuzzing::{Codec, Form, FrameWriter, Pack, PackFile, ReadAt, Row, check_file, compress};

use super::input::{Input, Script};
use super::logs::{self, STORE, memory_file};
use super::samples::records;
use stratafs::store::{Effort, RecordKind};

/// Most bytes read of a pack, which may say that it has 4 GiB.
const READ_MAX: u64 = 8 << 20;

/// Reads a compressed pack, whatever it is.
pub fn packs(bytes: &[u8]) {
    look(memory_file(bytes));
    let mut input = Input(bytes);
    let mut file = memory_file(&[]);
    let first = input.byte();
    let form = if first & 0x80 == 0 { Form::Compressed } else { Form::Joined };
    let mut writer = FrameWriter::begin(form, (STORE, 1), &mut file).expect("write to memory");
    for _ in 0..first % 16 {
        let codec = if input.byte() & 1 == 0 { Codec::Raw } else { Codec::Zstd };
        let (at, len, payload) = (input.u32(), input.u32() >> 8, input.block());
        let compressed = zstd::bulk::compress(payload, 1).expect("compress");
        let (len, payload) = match (codec, input.byte() % 4) {
            (Codec::Zstd, 0 | 1) => (payload.len() as u32, &compressed[..]),
            (Codec::Zstd, 2) => (len, &compressed[..]),
            _ => (len, payload),
        };
        if at.checked_add(len).is_some() {
            writer.add(codec, at.into(), len, payload).expect("write to memory");
        }
    }
    writer.end(input.u32().into()).expect("write to memory");
    let size = file.metadata().expect("it is there").len();
    for _ in 0..input.byte() % 4 {
        let at = u64::from(input.u32()) % size;
        file.write_all_at(&[input.byte()], at).expect("write to memory");
    }
    if input.byte() & 1 == 1 {
        file.set_len(u64::from(input.u32()) % size).expect("cut it");
    }
    look(file);
}

fn look(file: File) {
    let pack = Arc::new(PackFile::read_once(file).expect("read from memory"));
    for number in 1..=3 {
        let Some(pack) = Pack::of(pack.clone(), &(1..=3), number) else { continue };
        let len = pack.size().expect("it is known");
        let mut part = vec![1; len.min(1000) as usize];
        let at = len - part.len() as u64;
        pack.fill_at(&mut part, at).expect("read from memory");
    }
    check_file(&pack, |_, _| {}).expect("read from memory");
    let len = pack.size().expect("read from memory");
    let Some(frames) = pack.frames() else { return };
    let mut out = vec![1; 70_000];
    let mut left = READ_MAX;
    let ends = frames.frames.iter().flat_map(|frame| [u64::from(frame.at), frame.end().saturating_sub(9)]);
    for at in ends.chain([0, len.saturating_sub(9)]).filter(|at| *at <= len) {
        let part = (out.len() as u64).min(len - at).min(left) as usize;
        left -= part as u64;
        pack.fill_at(&mut out[..part], at).expect("read from memory");
        let first = out[..part].to_vec();
        pack.fill_at(&mut out[..part], at).expect("read from memory");
        assert!(first == out[..part], "the same is read twice");
    }
    assert!(pack.fill_at(&mut [0], len).is_err(), "nothing is read beyond the end");
}

/// A compressed pack of a store's records, and scripts of frames.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut pack = logs::Pack::new(1);
    for (kind, payload) in records() {
        pack.record(RecordKind::from_number(*kind), 0, payload, true);
    }
    pack.record(RecordKind::Chunk, 0, &[b'x'; 3000], true);
    let mut file = memory_file(&[]);
    let mut written = |count: u32| {
        let packs = (0..count).map(|_| (Box::new(pack.bytes.clone()) as Box<dyn ReadAt>, Vec::new()));
        let row = Row::new((STORE, 1), packs.collect()).expect("they are short");
        file.set_len(0).and_then(|()| file.rewind()).expect("empty it");
        compress(&row, Effort::Usual, &mut file).expect("write to memory");
        let mut whole = vec![0; file.metadata().expect("it is there").len() as usize];
        file.read_exact_at(&mut whole, 0).expect("read from memory");
        whole
    };
    let (whole, joined) = (written(1), written(3));
    let frame = |script: Script, codec: u8, at: u32, text: &[u8]| {
        let script = script.raw(&[codec]).raw(&at.to_le_bytes()).raw(&(5u32 << 8).to_le_bytes());
        script.raw(&(text.len() as u16).to_le_bytes()).raw(text).raw(&[0])
    };
    let two = frame(frame(Script::default().raw(&[2]), 0, 0, b"raw12"), 1, 5, &[b'y'; 300]);
    vec![whole, joined, two.raw(&305u32.to_le_bytes()).raw(&[0, 0]).0]
}
