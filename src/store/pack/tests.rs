//! Places in the log; compressed packs: their bytes, and that they are read as what they were made from.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::compress::{compress, is_compressible};
use super::file::PackFile;
use super::frames::{Codec, FRAME_HEADER, FrameHeader, TRAILER, read_frames};
use super::header::encode_pack_header;
use super::joined::Row;
use super::sound::{FileDamage, check_file};
use super::*;
use crate::model::hash::hex;
use crate::store::identity::StoreId;
use crate::store::testing::noise;

const STORE: StoreId = StoreId([0xab; 16]);

/// A pack of records of these payloads, with a footer; and what is listed there.
fn pack(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<FooterEntry>) {
    let mut bytes = encode_pack_header(STORE, 7).to_vec();
    let mut entries = Vec::new();
    let mut add = |bytes: &mut Vec<u8>, kind: RecordKind, payload: &[u8]| {
        let (offset, len) = (bytes.len() as u32, payload.len() as u32);
        let header = RecordHeader { kind, codec: CODEC_RAW, stored: len, raw: len, hash: kind.hash(payload) };
        bytes.extend(header.encode(Place { store: STORE, pack: 7, offset }));
        bytes.extend(payload);
        entries.push(FooterEntry { offset, header });
    };
    payloads.iter().for_each(|payload| add(&mut bytes, RecordKind::Chunk, payload));
    let footer = encode_footer(&entries, bytes.len() as u32);
    let kind = RecordKind::Footer;
    let len = footer.len() as u32;
    let header = RecordHeader { kind, codec: CODEC_RAW, stored: len, raw: len, hash: kind.hash(&footer) };
    bytes.extend(header.encode(Place { store: STORE, pack: 7, offset: bytes.len() as u32 }));
    bytes.extend(footer);
    (bytes, entries)
}

fn text(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len / 2 + 1).iter().flat_map(|b| format!("{b:02x}").into_bytes()).take(len).collect()
}

/// Text and noise, short and long.
fn payloads() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..40).map(|n| text(n, 100 + 900 * n as usize)).collect();
    all.extend((0..8).map(|n| noise(100 + n, 100_000)));
    all.push(text(200, 1_500_000));
    all.push(vec![]);
    all.extend((0..4).map(|n| text(300 + n, 120_000)));
    all
}

fn file(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn row(bytes: &[u8], entries: &[FooterEntry]) -> Row<'static> {
    Row::new((STORE, 7), vec![(Box::new(bytes.to_vec()), entries.to_vec())]).unwrap()
}

fn compressed(bytes: &[u8], entries: &[FooterEntry]) -> Vec<u8> {
    let mut out = tempfile::tempfile().unwrap();
    let len = compress(&row(bytes, entries), Effort::Usual, &mut out).unwrap().unwrap();
    let mut packed = vec![0; out.metadata().unwrap().len() as usize];
    out.read_exact_at(&mut packed, 0).unwrap();
    assert_eq!(packed.len() as u64, len);
    packed
}

fn damages(pack: &PackFile) -> Vec<(u64, FileDamage)> {
    let mut found = Vec::new();
    check_file(pack, |at, damage| found.push((at, damage))).unwrap();
    found
}

#[test]
fn a_frame_header_keeps_its_bytes_and_refuses_others() {
    let header =
        FrameHeader { codec: Codec::Zstd, at: 40, len: 3000, offset: 104, stored: 1000, hash: [7; 32] };
    let bytes = header.encode((STORE, 7));
    let hex: String = hex(&bytes);
    assert_eq!(
        hex,
        format!("7346726d0100000000000028{:08x}{:08x}{:08x}{}", 3000, 104, 1000, "07".repeat(32))
            + &hex[112..]
    );
    assert_eq!(FrameHeader::decode(&bytes, (STORE, 7)), Some(header));
    assert_eq!(FrameHeader::decode(&bytes, (STORE, 8)), None);
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(FrameHeader::decode(&bad, (STORE, 7)), None, "bit {bit}");
    }
    for wrong in [
        FrameHeader { len: 0, ..header },
        FrameHeader { len: 2 << 20, ..header },
        FrameHeader { stored: 2 << 20, ..header },
        FrameHeader { at: u32::MAX, ..header },
        FrameHeader { offset: u32::MAX, ..header },
        FrameHeader { codec: Codec::Raw, ..header },
    ] {
        assert_eq!(FrameHeader::decode(&wrong.encode((STORE, 7)), (STORE, 7)), None, "{wrong:?}");
    }
}

#[test]
fn a_compressed_pack_reads_as_what_it_was_made_from() {
    let (bytes, entries) = pack(&payloads());
    let packed = compressed(&bytes, &entries);
    assert!(packed.len() < bytes.len() * 7 / 10, "{} of {}", packed.len(), bytes.len());
    let pack = PackFile::read_once(file(&packed)).unwrap();
    assert_eq!(damages(&pack), []);
    assert_eq!(
        (pack.whose().unwrap(), read_pack_header(&pack).unwrap()),
        (Some((STORE, 7)), Some((STORE, 7)))
    );
    assert_eq!(pack.size().unwrap(), bytes.len() as u64);
    let frames = &pack.frames().unwrap().frames;
    assert!(frames.iter().any(|f| f.codec == Codec::Raw) && frames.iter().any(|f| f.codec == Codec::Zstd));
    let mut out = vec![0; bytes.len()];
    pack.fill_at(&mut out, 0).unwrap();
    assert!(out == bytes);
    let mut at = 0;
    for len in (0..400_000).step_by(9973) {
        at = (at * 31 + 77_777) % (bytes.len() - len);
        pack.fill_at(&mut out[..len], at as u64).unwrap();
        assert!(out[..len] == bytes[at..at + len], "{len} at {at}");
    }
    let end = bytes.len() as u64;
    assert_eq!(pack.fill_at(&mut out[..2], end - 1).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    pack.fill_at(&mut [], end).unwrap();
    let mut scanner = Scanner::new(&pack, STORE, 7, 0, u64::MAX).unwrap();
    let mut found = Vec::new();
    while let Some(step) = scanner.step(|_| true).unwrap() {
        let Step::Record { header, pos, payload: Payload::Intact(_) } = step else { panic!("{step:?}") };
        found.push(FooterEntry { offset: pos.offset - RECORD_HEADER, header });
    }
    assert_eq!(found.pop().unwrap().header.kind, RecordKind::Footer);
    assert_eq!(found, entries);
    assert_eq!(read_footer(&pack, STORE, 7).unwrap(), Some(entries));
}

#[test]
fn what_hardly_gets_smaller_is_left_as_it_is() {
    let (bytes, entries) = pack(&(0..30).map(|n| noise(n, 60_000)).collect::<Vec<_>>());
    assert!(!is_compressible(&row(&bytes, &entries)).unwrap());
    let mut out = tempfile::tempfile().unwrap();
    assert_eq!(compress(&row(&bytes, &entries), Effort::Usual, &mut out).unwrap(), None);
    let (bytes, entries) = pack(&payloads());
    assert!(is_compressible(&row(&bytes, &entries)).unwrap());
}

/// Wherever a compressed pack is damaged, what is read is what was there, or zeros in whole frames; and it is
/// told of.
#[test]
fn damage_costs_no_more_than_the_frame_it_is_in() {
    let (bytes, entries) = pack(&payloads());
    let packed = compressed(&bytes, &entries);
    let frames = read_frames(&file(&packed)).unwrap().unwrap().frames;
    let mut places = vec![0, 9, 20, 39];
    for frame in &frames {
        let at = frame.offset as usize;
        places.extend([at, at + 10, at + 60, at + FRAME_HEADER, frame.file_end() as usize - 1]);
    }
    let table = packed.len() - TRAILER - frames.len() * FRAME_HEADER;
    places.extend([table, table + 70, packed.len() - TRAILER, packed.len() - 12, packed.len() - 1]);
    let mut out = vec![0; bytes.len()];
    for at in places {
        let mut bad = packed.clone();
        bad[at] ^= 0x10;
        let pack = PackFile::read_once(file(&bad)).unwrap();
        assert_eq!(damages(&pack).len(), 1, "byte {at}");
        assert_eq!(pack.size().unwrap(), bytes.len() as u64, "byte {at}");
        pack.fill_at(&mut out, 0).unwrap();
        let hit = frames.iter().find(|f| (f.payload()..f.file_end()).contains(&(at as u64)));
        let range = hit.map_or(0..0, |f| f.at as usize..f.end() as usize);
        assert!(out[..range.start] == bytes[..range.start], "byte {at}");
        assert!(out[range.end..] == bytes[range.end..], "byte {at}");
    }
    for len in [0, 30, 41, 5000, table, table + 100, packed.len() - 1] {
        let pack = PackFile::read_once(file(&packed[..len])).unwrap();
        let Some(frames) = pack.frames() else {
            assert!(len < 40, "{len}");
            continue;
        };
        assert!(!damages(&pack).is_empty(), "cut to {len}");
        let known = frames.len as usize;
        out.truncate(known);
        pack.fill_at(&mut out, 0).unwrap();
        let whole = frames.frames.iter().filter(|f| f.file_end() <= len as u64);
        whole.for_each(|f| {
            let range = f.at as usize..f.end() as usize;
            assert!(out[range.clone()] == bytes[range], "cut to {len}");
        });
        out.resize(bytes.len(), 0);
    }
}

/// A pack as it was written may hold a compressed one as a file, at its very end.
#[test]
fn a_pack_that_ends_with_a_compressed_one_is_none() {
    let (bytes, entries) = pack(&payloads());
    let (outer, _) = pack(&[text(1, 1000), compressed(&bytes, &entries)]);
    let end = outer.len() - {
        // Without its footer: as the last pack is.
        let listed = read_footer(&file(&outer), STORE, 7).unwrap().unwrap();
        outer.len() - listed.last().map(|e| (e.offset + RECORD_HEADER + e.header.stored) as usize).unwrap()
    };
    assert!(read_frames(&file(&outer[..end])).unwrap().is_none());
}

#[test]
fn positions_have_a_fixed_form() {
    let pos = Pos { pack: 1, offset: 0x0203, stored: 4, raw: 5, codec: 6 };
    let bytes = pos.to_bytes();
    assert_eq!(bytes, [0, 0, 0, 1, 0, 0, 2, 3, 0, 0, 0, 4, 0, 0, 0, 5, 6]);
    assert_eq!(Pos::from_bytes(&bytes), Some(pos));
    assert_eq!(Pos::from_bytes(&bytes[1..]), None);
}

#[test]
fn log_positions_order_by_pack_then_offset() {
    let a = LogPos::new(1, u32::MAX);
    let b = LogPos::new(2, 0);
    assert!(a < b);
    assert_eq!((a.pack(), a.offset()), (1, u32::MAX));
}
