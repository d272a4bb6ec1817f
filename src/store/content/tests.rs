use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;
use sha2::Digest;

use super::*;
use crate::model::content::CHUNK_MAX;
use crate::model::{ChunkHash, ChunkRef, Content, Piece, TreeRef};
use crate::store::error::Error;
use crate::store::manifest::{Child, Items, Node, Objects, content_id, data_size, locate, pieces_from};
use crate::store::testing::{MemObjects, bytes, content_of, noise};

const UNIT: u64 = CHUNK_MAX as u64;

fn whole(objects: &Objects, content: &Content) -> Vec<u8> {
    let mut out = Vec::new();
    for_each_block(objects, content, |block| {
        out.extend_from_slice(block);
        Ok(())
    })
    .unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_stream_is_chunked_like_its_bytes(data in bytes(), step in 1..300_000_usize) {
        let (_, objects) = MemObjects::new();
        let expected = content_of(&objects, &data);
        let read = from_reader(&objects, Path::new("test"), &data[..]).unwrap();
        prop_assert_eq!(&read, &expected);
        // Piecemeal, with zeros as holes where there are any.
        let mut builder = Builder::new(&objects);
        for part in data.chunks(step) {
            let data = part.iter().position(|&byte| byte == 0).unwrap_or(part.len());
            builder.write(&part[..data]).unwrap();
            let zeros = part[data..].iter().take_while(|&&byte| byte == 0).count();
            builder.zeros(zeros as u64).unwrap();
            builder.write(&part[data + zeros..]).unwrap();
        }
        prop_assert_eq!(&builder.finish().unwrap(), &expected);
        prop_assert!(whole(&objects, &expected) == data);
        prop_assert_eq!(b3sum(&objects, &expected).unwrap(), *blake3::hash(&data).as_bytes());
        let nowhere = from_reader(&Objects::hash_only(), Path::new("test"), &data[..]).unwrap();
        prop_assert_eq!(content_id(&nowhere), content_id(&expected));
    }

    #[test]
    fn reads_give_the_bytes_in_one_call(
        data in bytes(),
        reads in prop::collection::vec((any::<prop::sample::Index>(), 0..400_000_usize), 1..8),
    ) {
        let (store, objects) = MemObjects::new();
        let content = content_of(&objects, &data);
        for (offset, len) in reads {
            let offset = offset.index(data.len() + 10);
            store.reset_counts();
            let mut out = vec![0xaa; len];
            let read = read_at(&objects, &content, offset as u64, &mut out).unwrap();
            let expected = &data[offset.min(data.len())..(offset + len).min(data.len())];
            prop_assert!(&out[..read] == expected);
            prop_assert!(store.reads.load(Relaxed) <= 1);
            prop_assert!(store.bytes_read.load(Relaxed) <= len as u64);
        }
    }
}

#[test]
fn data_and_holes_are_found() {
    let (_, objects) = MemObjects::new();
    let mut builder = Builder::new(&objects);
    builder.zeros(3 * UNIT).unwrap();
    builder.write(&[1; 10]).unwrap();
    builder.zeros(UNIT - 10 + (UNIT << 20)).unwrap();
    builder.write(b"end").unwrap();
    let content = builder.finish().unwrap();
    let size = 4 * UNIT + (UNIT << 20) + 3;
    assert_eq!(content.size(), size);
    let data = |at| next_data(&objects, &content, at).unwrap();
    let hole = |at| next_hole(&objects, &content, at).unwrap();
    assert_eq!(data(0), Some(3 * UNIT));
    assert_eq!(data(3 * UNIT + 7), Some(3 * UNIT + 7));
    assert_eq!(data(4 * UNIT), Some(size - 3));
    assert_eq!(data(size), None);
    assert_eq!(hole(0), Some(0));
    assert_eq!(hole(3 * UNIT + 5), Some(4 * UNIT));
    assert_eq!(hole(size - 1), Some(size));
    assert_eq!(hole(size), None);
    assert_eq!(next_data(&objects, &Content::Few([Piece::Zeros(1)].into()), 5).unwrap(), None);
}

/// A file in a few nodes that has more pieces than anybody could ever look at is read like others, and holes and
/// data in it are looked for only so far.
#[test]
fn a_file_of_endless_pieces_keeps_nobody() {
    const WIDE: usize = 256;
    let (_, objects) = MemObjects::new();
    let put =
        |node: &Node| Child { hash: objects.store().put_node(&node.encode()).unwrap(), size: node.size() };
    for piece in [Piece::Data(ChunkRef { hash: ChunkHash([7; 32]), len: CHUNK_MAX as u32 }), Piece::Zeros(1)]
    {
        let count = if matches!(piece, Piece::Data(_)) { WIDE } else { 1 };
        let mut node = Node { level: 0, items: Items::Pieces(vec![piece; count]) };
        for level in 1..5 {
            let child = put(&node);
            node = Node { level, items: Items::Children(vec![child; WIDE]) };
        }
        let root = put(&node);
        let content = Content::Tree(TreeRef { root: root.hash, size: root.size, depth: 5 });
        let (data, hole) =
            (next_data(&objects, &content, 5).unwrap(), next_hole(&objects, &content, 5).unwrap());
        match piece {
            Piece::Data(_) => assert_eq!((data, hole), (Some(5), Some(root.size))),
            Piece::Zeros(_) => {
                assert_eq!(hole, Some(5));
                assert!(data.is_some_and(|at| at > 1 << 30 && at < root.size), "{data:?}");
            }
        }
        assert!(data_size(&objects, &content).unwrap() <= root.size);
        let last = locate(&objects, &content, root.size - 1).unwrap().unwrap();
        assert_eq!(last.0 + CHUNK_MAX as u64, root.size);
    }
}

#[test]
fn sums_are_those_of_the_usual_tools() {
    let (_, objects) = MemObjects::new();
    for len in [0, 1, 5000, 3_000_000] {
        let data = noise(1, len);
        let content = content_of(&objects, &data);
        assert_eq!(b3sum(&objects, &content).unwrap(), *blake3::hash(&data).as_bytes());
        assert_eq!(md5(&objects, &content).unwrap(), <[u8; 16]>::from(md5::Md5::digest(&data)));
        assert_eq!(sha256(&objects, &content).unwrap(), <[u8; 32]>::from(sha2::Sha256::digest(&data)));
    }
}

#[test]
fn a_sparse_file_costs_what_its_data_do() {
    let (store, objects) = MemObjects::new();
    let file = tempfile::tempfile().unwrap();
    let data = noise(1, 300_000);
    file.set_len(1 << 40).unwrap();
    file.write_all_at(&data, 1 << 39).unwrap();
    file.write_all_at(&data, (1 << 40) - data.len() as u64).unwrap();
    let content = from_file(&objects, Path::new("sparse"), &file).unwrap();
    assert!(store.bytes_put.load(Relaxed) < 2 << 20);

    let mut builder = Builder::new(&objects);
    builder.zeros(1 << 39).unwrap();
    builder.write(&data).unwrap();
    builder.zeros((1 << 39) - 2 * data.len() as u64).unwrap();
    builder.write(&data).unwrap();
    assert_eq!(content, builder.finish().unwrap());
    assert!(pieces_from(&objects, &content, 0).count() < 30);
}

#[test]
fn an_ordinary_file_is_its_bytes() {
    let (_, objects) = MemObjects::new();
    for len in [0, 100, CHUNK_MAX + 1, 5 << 20] {
        let data = noise(2, len);
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&data, 0).unwrap();
        let content = from_file(&objects, file.path(), file.as_file()).unwrap();
        assert_eq!(content, content_of(&objects, &data));
    }
}

#[test]
fn a_full_store_and_a_failing_reader_are_told_apart() {
    let (store, objects) = MemObjects::new();
    let data = noise(3, 3 << 20);
    store.fail_after(1);
    let result = from_reader(&objects, Path::new("in"), &data[..]);
    assert!(matches!(result, Err(Error::NoSpace(_))));
    let directory = std::fs::File::open("/").unwrap();
    let result = from_reader(&objects, Path::new("/"), &directory);
    assert!(matches!(result, Err(Error::Io { what: "read", .. })));
}

#[test]
fn after_an_error_a_stream_goes_on_as_before() {
    let (store, objects) = MemObjects::new();
    let data = noise(4, 1 << 20);
    let mut stream = ChunkStream::default();
    for part in data.chunks(300_000) {
        stream.write(part);
        store.fail_after(0);
        stream.drain(objects.store()).unwrap_err();
    }
    store.fail_after(0);
    stream.finish(objects.store()).unwrap_err();
    stream.write(&data);
    stream.finish(objects.store()).unwrap();
    let pieces = stream.pieces();
    let expected = content_of(&objects, &[&data[..], &data[..]].concat());
    let expected: Vec<Piece> = pieces_from(&objects, &expected, 0).map(|piece| piece.unwrap().1).collect();
    assert_eq!(pieces, expected);
}
