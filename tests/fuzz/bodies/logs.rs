//! Packs: their headers and footers, and scans of them.
//!
//! A fuzzer does not guess a hash. So its bytes say what a pack is made of, and headers and hashes are made
//! to fit, but for those that are to be wrong.

use std::fs::File;
use std::os::unix::fs::FileExt;

use stratafs::store::fuzzing::{
    CODEC_RAW, FooterEntry, LogPos, PACK_HEADER, Place, RECORD_HEADER, Scanner, Step, decode_footer,
    decode_pack_header, encode_footer, encode_pack_header, read_footer, read_record,
};
use stratafs::store::{Payload, Pos, RecordHeader, RecordKind, StoreId};

use super::input::{Input, Script};
use super::samples::{noise, records};

/// The store that packs are of.
pub const STORE: StoreId = StoreId([0xab; 16]);

/// Most footers of a pack: each lists those before it.
const FOOTERS_MAX: u32 = 8;

/// A file in memory.
pub fn memory_file(bytes: &[u8]) -> File {
    let made = rustix::fs::memfd_create(c"fuzz", rustix::fs::MemfdFlags::CLOEXEC);
    let file = File::from(made.expect("make a file in memory"));
    file.write_all_at(bytes, 0).expect("write to memory");
    file
}

/// Headers of packs and records, as they are and with a fitting checksum.
pub fn headers(bytes: &[u8]) {
    if let Ok(header) = bytes.try_into()
        && let Some((store, number)) = decode_pack_header(header)
    {
        // A later format may have another number where this one writes its own.
        let again = encode_pack_header(store, number);
        assert_eq!(decode_pack_header(&again), Some((store, number)));
        assert_eq!(again[12..32], header[12..32]);
    }
    let mut input = Input(bytes);
    let place = Place { store: STORE, pack: input.u32(), offset: input.u32() };
    if let Ok(header) = input.0.try_into()
        && let Some(decoded) = RecordHeader::decode(header, place)
    {
        assert_eq!(decoded.encode(place)[..6], header[..6]);
        assert_eq!(decoded.encode(place)[8..48], header[8..48]);
    }
    let kind = RecordKind::from_number(input.byte());
    let (codec, stored, raw) = (input.byte(), input.u32(), input.u32());
    let header = RecordHeader { kind, codec, stored, raw, hash: kind.hash(input.0) };
    assert_eq!(RecordHeader::decode(&header.encode(place), place), Some(header));
    let elsewhere = Place { offset: place.offset ^ 1, ..place };
    assert_eq!(RecordHeader::decode(&header.encode(place), elsewhere), None);
    let pack = encode_pack_header(STORE, place.pack);
    assert_eq!(decode_pack_header(&pack), Some((STORE, place.pack)));
    let pos = Pos { pack: place.pack, offset: place.offset, stored, raw, codec };
    assert_eq!(Pos::from_bytes(&pos.to_bytes()), Some(pos));
    assert!(pos.start() <= pos.end());
    assert_eq!(LogPos::new(place.pack, place.offset).offset(), place.offset);
}

/// Valid headers.
pub fn header_seeds() -> Vec<Vec<u8>> {
    let place = Place { store: STORE, pack: 0, offset: 40 };
    let header =
        |kind: RecordKind| RecordHeader { kind, codec: 0, stored: 3, raw: 3, hash: kind.hash(b"abc") };
    let record = |n| {
        let header = header(RecordKind::from_number(n)).encode(place);
        Script::default().raw(&[0, 0, 0, 0, 40, 0, 0, 0]).raw(&header).0
    };
    let packs = [1, 7].map(|number| encode_pack_header(STORE, number).to_vec());
    (1..9).map(record).chain(packs).collect()
}

/// The payload of a footer, on its own and as the last record of a pack.
pub fn footers(bytes: &[u8]) {
    let decoded = decode_footer(bytes);
    if let Some(entries) = &decoded {
        let offset = u32::from_be_bytes(bytes[bytes.len() - 8..][..4].try_into().expect("4 bytes"));
        let again = encode_footer(entries, offset);
        assert_eq!(again[..again.len() - 4], bytes[..bytes.len() - 4]);
        for entry in entries {
            let pos = entry.pos(1);
            assert!(pos.offset >= entry.offset && pos.end() >= pos.start());
        }
    }
    let mut pack = Pack::new(1);
    pack.record(RecordKind::Chunk, CODEC_RAW, b"chunk", true);
    let offset = pack.bytes.len() as u32;
    // Where it says that it begins is what a fuzzer would have to guess.
    let mut payload = bytes.to_vec();
    if let Some(at) = payload.len().checked_sub(8) {
        payload[at..at + 4].copy_from_slice(&offset.to_be_bytes());
    }
    pack.record(RecordKind::Footer, CODEC_RAW, &payload, true);
    let read = read_footer(&memory_file(&pack.bytes), STORE, 1).expect("read from memory");
    if let Some(entries) = read {
        assert_eq!(Some(entries), decode_footer(&payload));
        assert_eq!(payload[payload.len() - 4..], *b"sEnd");
    } else {
        assert!(decode_footer(&payload).is_none() || !payload.ends_with(b"sEnd"));
    }
}

/// Valid footers.
pub fn footer_seeds() -> Vec<Vec<u8>> {
    let entry = |n: u32| {
        let kind = RecordKind::from_number(n as u8);
        let header = RecordHeader { kind, codec: 0, stored: n, raw: n, hash: [n as u8; 32] };
        FooterEntry { offset: 40 + n * 100, header }
    };
    [0, 1, 9].map(|count| encode_footer(&(0..count).map(entry).collect::<Vec<_>>(), 45)).to_vec()
}

/// A pack being made.
pub struct Pack {
    number: u32,
    footers: u32,
    /// Its bytes so far.
    pub bytes: Vec<u8>,
    /// Where intact headers stand, and what they say.
    pub headers: Vec<(u32, RecordHeader)>,
}

/// Packs made of what a fuzzer's bytes say.
pub struct Packs {
    /// In order; numbered from 1.
    pub packs: Vec<Pack>,
    /// Whether all is as a store would have written it, but for what records say.
    pub sound: bool,
}

impl Pack {
    /// Pack `number`, empty.
    pub fn new(number: u32) -> Pack {
        Pack { number, footers: 0, bytes: encode_pack_header(STORE, number).to_vec(), headers: Vec::new() }
    }

    fn header(&mut self, header: RecordHeader) {
        let offset = self.bytes.len() as u32;
        self.bytes.extend(header.encode(Place { store: STORE, pack: self.number, offset }));
        self.headers.push((offset, header));
    }

    pub fn record(&mut self, kind: RecordKind, codec: u8, payload: &[u8], honest: bool) {
        let mut hash = kind.hash(payload);
        hash[31] ^= u8::from(!honest);
        let len = payload.len() as u32;
        self.header(RecordHeader { kind, codec, stored: len, raw: len, hash });
        self.bytes.extend_from_slice(payload);
    }

    fn footer(&mut self) {
        self.footers += 1;
        let entries: Vec<_> = self
            .headers
            .iter()
            .map(|(offset, header)| FooterEntry { offset: *offset, header: *header })
            .collect();
        self.record(RecordKind::Footer, CODEC_RAW, &encode_footer(&entries, self.bytes.len() as u32), true);
    }

    /// What a scan is to find: records (their offset, length, and whether intact) and gaps.
    fn expected(&self) -> Vec<(u64, u64, Option<bool>)> {
        let len = self.bytes.len() as u64;
        let end_of = |(offset, header): &(u32, RecordHeader)| {
            u64::from(*offset) + u64::from(RECORD_HEADER) + u64::from(header.stored)
        };
        let fitting: Vec<_> = self.headers.iter().filter(|header| end_of(header) <= len).collect();
        let mut at = u64::from(PACK_HEADER);
        let mut steps = Vec::new();
        while at < len {
            let next = fitting.iter().find(|(offset, _)| u64::from(*offset) >= at);
            match next {
                Some(record) if u64::from(record.0) == at => {
                    let end = end_of(record);
                    let payload = &self.bytes[at as usize + RECORD_HEADER as usize..end as usize];
                    let header = record.1;
                    let plain = header.codec == CODEC_RAW && header.raw == header.stored;
                    steps.push((at, end - at, Some(plain && header.kind.hash(payload) == header.hash)));
                    at = end;
                }
                next => {
                    let end = next.map_or(len, |(offset, _)| u64::from(*offset));
                    steps.push((at, end - at, None));
                    at = end;
                }
            }
        }
        steps
    }
}

impl Packs {
    /// Reads what the packs are made of.
    pub fn build(bytes: &[u8]) -> Packs {
        let mut input = Input(bytes);
        let mut made = Packs { packs: vec![Pack::new(1)], sound: true };
        while !input.is_empty() {
            let number = made.packs.len() as u32;
            let pack = made.packs.last_mut().expect("there is always one");
            let sort = input.byte() % 8;
            made.sound &= match sort {
                5 => pack.footers < FOOTERS_MAX,
                6 => number < 4,
                sort => sort < 2,
            };
            match sort {
                0 | 1 => {
                    let kind = RecordKind::from_number(input.byte());
                    pack.record(kind, CODEC_RAW, input.block(), true);
                }
                2 => pack.record(RecordKind::from_number(input.byte()), CODEC_RAW, input.block(), false),
                3 => {
                    pack.record(RecordKind::from_number(input.byte()), input.byte() | 1, input.block(), true)
                }
                4 => {
                    let kind = RecordKind::from_number(input.byte());
                    let (stored, raw) = (input.u32(), input.u32());
                    pack.header(RecordHeader {
                        kind,
                        codec: CODEC_RAW,
                        stored,
                        raw,
                        hash: [kind.number(); 32],
                    });
                }
                5 if pack.footers < FOOTERS_MAX => pack.footer(),
                6 if number < 4 => {
                    pack.footer();
                    made.packs.push(Pack::new(number + 1));
                }
                _ => pack.bytes.extend_from_slice(input.block()),
            }
        }
        made
    }
}

/// A scan finds every record with an intact header and nothing else, and each by itself.
pub fn scans(bytes: &[u8]) {
    for pack in Packs::build(bytes).packs {
        scan(&pack);
    }
    // Bytes as they are after a valid header.
    let mut pack = Pack::new(1);
    pack.bytes.extend_from_slice(bytes);
    scan(&pack);
}

fn scan(pack: &Pack) {
    let file = memory_file(&pack.bytes);
    let len = pack.bytes.len() as u64;
    let again = file.try_clone().expect("a second descriptor");
    let mut scanner = Scanner::new(again, STORE, pack.number, 0, u64::MAX).expect("begin a scan");
    let mut found = Vec::new();
    while let Some(step) = scanner.step(|_| true).expect("read from memory") {
        found.push(match step {
            Step::Record { header, pos, payload } => {
                let offset = u64::from(pos.offset - RECORD_HEADER);
                let whole = u64::from(RECORD_HEADER) + u64::from(header.stored);
                (offset, whole, Some(matches!(payload, Payload::Intact(_))))
            }
            Step::Gap { offset, bytes, .. } => (offset, bytes, None),
        });
    }
    assert_eq!(found, pack.expected());
    for (offset, _, intact) in found {
        let place = Place { store: STORE, pack: pack.number, offset: offset as u32 };
        let read = read_record(&file, len, place).expect("read from memory");
        assert_eq!(read.map(|(_, payload)| payload.is_some()), intact, "the record at byte {offset}");
    }
    drop(read_footer(&file, STORE, pack.number).expect("read from memory"));
}

fn part(script: Script, sort: u8, kind: u8, payload: &[u8]) -> Script {
    script.raw(&[sort, kind]).block(payload)
}

fn all(script: Script) -> Script {
    records().iter().fold(script, |script, (kind, bytes)| part(script, 0, *kind, bytes))
}

/// A damaged chunk, then fewer bytes than a record's header has, then good records.
pub fn short_gap() -> Vec<u8> {
    all(part(Script::default(), 2, 1, b"bad chunk").raw(&[7]).block(&noise(6, 47))).0
}

/// Packs with the records of a real store: whole, sealed, torn, and with damage of all sorts.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        Vec::new(),
        short_gap(),
        all(Script::default()).0,
        all(Script::default()).raw(&[5]).0,
        all(all(Script::default()).raw(&[6])).raw(&[6, 5]).0,
        part(part(all(Script::default()), 2, 1, b"bad chunk"), 0, 1, b"good chunk").0,
        all(part(Script::default(), 2, 3, b"bad version")).0,
        all(part(Script::default(), 3, 1, b"\x01codec")).0,
        all(Script::default().raw(&[7]).block(&noise(5, 70))).0,
        all(Script::default()).raw(&[4, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]).0,
        all(Script::default().raw(&[4, 1, 60, 0, 0, 0, 60, 0, 0, 0])).0,
    ];
    for (kind, bytes) in records() {
        seeds.push(part(Script::default(), 0, *kind, bytes).0);
    }
    seeds
}
