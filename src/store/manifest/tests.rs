use proptest::prelude::*;

use super::*;
use crate::model::content::{CHUNK_MAX, INLINE_PIECES};
use crate::model::{ChunkHash, ChunkRef};
use crate::store::error::{Error, Result};
use crate::store::testing::MemObjects;

/// A piece for each number: every eighth zeros, some of the others alike.
fn piece(number: u32) -> Piece {
    match number % 8 {
        0 => Piece::Zeros(u64::from(number % 5 + 1)),
        _ => Piece::Data(ChunkRef { hash: ChunkHash::of(&number.to_le_bytes()), len: number % 4000 + 1 }),
    }
}

fn build(objects: &Objects, pieces: &[Piece]) -> Content {
    let mut builder = TreeBuilder::new(objects);
    pieces.iter().for_each(|&piece| builder.push(piece).unwrap());
    builder.finish().unwrap()
}

fn list(objects: &Objects, content: &Content) -> Vec<Piece> {
    let pieces: Result<Vec<(u64, Piece)>> = pieces_from(objects, content, 0).collect();
    pieces.unwrap().into_iter().map(|(_, piece)| piece).collect()
}

/// The canonical form of a list of pieces: neighbouring zeros merged.
fn merge(pieces: &[Piece]) -> Vec<Piece> {
    let mut merged: Vec<Piece> = Vec::new();
    for &piece in pieces {
        match (merged.last_mut(), piece) {
            (Some(Piece::Zeros(count)), Piece::Zeros(more)) => *count += more,
            _ => merged.push(piece),
        }
    }
    merged
}

fn size(pieces: &[Piece]) -> u64 {
    pieces.iter().map(Piece::len).sum()
}

fn depth(content: &Content) -> u8 {
    match content {
        Content::Tree(tree) => tree.depth,
        _ => 0,
    }
}

/// All pieces with zeros taken apart, so that edits can begin and end within them.
fn units(pieces: &[Piece]) -> Vec<Piece> {
    let unit = |piece: &Piece| match *piece {
        Piece::Zeros(count) => vec![Piece::Zeros(1); count as usize],
        data => vec![data],
    };
    pieces.iter().flat_map(unit).collect()
}

#[test]
fn the_form_follows_from_the_number_of_pieces() {
    let (_, objects) = MemObjects::new();
    let data: Vec<Piece> = (0..).filter(|n| n % 8 != 0).map(piece).take(20_000).collect();
    let Piece::Data(first) = data[0] else { panic!() };
    assert_eq!(build(&objects, &[]), Content::Empty);
    assert_eq!(build(&objects, &data[..1]), Content::One(first));
    let zeros = build(&objects, &[Piece::Zeros(2), Piece::Zeros(3)]);
    assert_eq!(zeros, Content::Few([Piece::Zeros(5)].into()));
    assert_eq!(build(&objects, &data[..INLINE_PIECES]), Content::Few(data[..INLINE_PIECES].into()));
    for (count, levels) in [(INLINE_PIECES + 1, 1), (32, 1), (1000, 2), (20_000, 3)] {
        let content = build(&objects, &data[..count]);
        assert_eq!(depth(&content), levels, "{count} pieces");
        assert_eq!(content.size(), size(&data[..count]));
        assert_eq!(list(&objects, &content), data[..count]);
    }
}

#[test]
fn ids_stay_as_they_are() {
    let (_, objects) = MemObjects::new();
    let id = |pieces: &[Piece]| content_id(&build(&objects, pieces)).to_hex();
    let many: Vec<Piece> = (0..3000).map(piece).collect();
    assert_eq!(id(&[]), blake3::hash(b"").to_string());
    assert_eq!(id(&[piece(1)]), blake3::hash(&1_u32.to_le_bytes()).to_string());
    assert_eq!(id(&many[..3]), "5fb10144a243e3ec9e3b0dbe2dd5899e8782046ec7a3b0348bc74290bbb766f1");
    assert_eq!(id(&many[..20]), "0df3c25bd800b9a48940b11f72547c8a4a8694bab053ac0d8e6fe3e1e99d7d1d");
    assert_eq!(id(&many), "338481459914910770cb9dd7879d594bc75cff1878f54b3a1e92f4ced14798b4");
}

#[test]
fn alike_pieces_make_nodes_of_bounded_size() {
    let (_, objects) = MemObjects::new();
    for number in 1..8 {
        let pieces = vec![piece(number); 70_000];
        let content = build(&objects, &pieces);
        assert!((3..=4).contains(&depth(&content)));
        assert_eq!(list(&objects, &content), pieces);
    }
}

#[test]
fn pieces_are_found_from_any_offset() {
    let (_, objects) = MemObjects::new();
    for count in [0, 1, 5, 30, 5000] {
        let pieces = merge(&(0..count).map(piece).collect::<Vec<_>>());
        let content = build(&objects, &pieces);
        let mut start = 0;
        for &piece in &pieces {
            for offset in [start, start + piece.len() / 2, start + piece.len() - 1] {
                assert_eq!(locate(&objects, &content, offset).unwrap(), Some((start, piece)));
            }
            start += piece.len();
        }
        for offset in [start, start + 1, u64::MAX] {
            assert_eq!(locate(&objects, &content, offset).unwrap(), None);
        }
    }
}

#[test]
fn an_edit_touches_few_nodes() {
    let (store, objects) = MemObjects::new();
    let pieces = merge(&(0..50_000).map(piece).collect::<Vec<_>>());
    let base = build(&objects, &pieces);
    let before = store.len().1;
    let at = size(&pieces[..20_001]);
    let edit = Edit { range: at..at + pieces[20_001].len(), items: vec![piece(77_777)] };
    splice(&objects, &base, vec![edit]).unwrap();
    assert!(store.len().1 - before <= 3 * 3, "{} new nodes", store.len().1 - before);
}

#[test]
fn edits_between_chunk_ends_and_damaged_nodes_are_errors() {
    let (store, objects) = MemObjects::new();
    let pieces: Vec<Piece> = (0..500).map(piece).collect();
    let base = build(&objects, &pieces);
    for range in [1..size(&pieces), 0..size(&pieces) - 1, 0..CHUNK_MAX as u64 + 1] {
        let edit = Edit { range, items: vec![] };
        assert!(matches!(splice(&objects, &base, vec![edit]), Err(Error::Corrupt(_))));
    }
    let objects = Objects::new(store.clone());
    let Content::Tree(tree) = base else { panic!() };
    let wrong = Content::Tree(crate::model::TreeRef { size: tree.size + 1, ..tree });
    assert!(matches!(locate(&objects, &wrong, 0), Err(Error::Corrupt(_))));
    for depth in [0, 1, 3, 255] {
        let wrong = Content::Tree(crate::model::TreeRef { depth, ..tree });
        assert!(matches!(locate(&objects, &wrong, 0), Err(Error::Corrupt(_))));
    }
    store.clear();
    let objects = Objects::new(store);
    let mut pieces = pieces_from(&objects, &base, 0);
    assert!(matches!(pieces.next(), Some(Err(Error::Missing(_)))));
    assert!(pieces.next().is_none());
}

/// What st_blocks says is never less than the data, never more than the size, all of it without holes,
/// and exact where the pieces are at hand.
#[test]
fn data_size_leaves_out_holes_but_no_data() {
    let (_, objects) = MemObjects::new();
    let data = |number: u32| {
        Piece::Data(ChunkRef { hash: ChunkHash::of(&number.to_le_bytes()), len: CHUNK_MAX as u32 })
    };
    for (count, hole, exact) in [
        (0, 0, true),
        (3, 1, true),
        (40, 1, false),
        (10, 10_000, true),
        (40, 10_000, false),
        (5000, 0, true),
        (5000, 7, false),
        (5000, 9000, false),
    ] {
        let with_hole = |number| match hole {
            0 => vec![data(number)],
            hole => vec![Piece::Zeros(hole), data(number)],
        };
        let content = build(&objects, &(0..count).flat_map(with_hole).collect::<Vec<_>>());
        let (least, got) = (u64::from(count) * CHUNK_MAX as u64, data_size(&objects, &content).unwrap());
        assert!(got >= least && got <= content.size(), "{count} chunks after {hole}: {got}");
        assert_eq!(exact, got == least, "{count} chunks after {hole}: {got}");
        if hole > 1000 {
            assert!(got < content.size() / 10, "{count} chunks after {hole}: {got}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// However a list of pieces came about, its manifest is the same.
    #[test]
    fn spliced_contents_equal_contents_built_anew(
        count in prop_oneof![0..12_u32, 0..600_u32, 9000..20_000_u32],
        rounds in prop::collection::vec(
            prop::collection::vec(
                (any::<prop::sample::Index>(), 0..400_usize, any::<u32>(), 0..400_u32, any::<bool>()),
                1..6,
            ),
            1..5,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let (_, objects) = MemObjects::new();
        let mut pieces: Vec<Piece> = (0..count).map(piece).collect();
        let mut content = build(&objects, &pieces);
        for round in rounds {
            let old = units(&pieces);
            let mut places: Vec<_> = round
                .into_iter()
                .map(|(at, remove, first, add, all)| {
                    let at = at.index(old.len() + 1);
                    (at, if all { old.len() } else { at + remove }, first % 1_000_000, add)
                })
                .collect();
            places.sort();
            let (mut edits, mut new, mut done) = (Vec::new(), Vec::new(), 0);
            for (at, until, first, add) in places {
                if at < done {
                    continue;
                }
                let until = until.min(old.len());
                let items: Vec<Piece> = (first..first + add).map(piece).collect();
                new.extend(&old[done..at]);
                new.extend(&items);
                edits.push(Edit { range: size(&old[..at])..size(&old[..until]), items });
                done = until;
            }
            new.extend(&old[done..]);
            content = splice(&objects, &content, edits).unwrap();
            pieces = new;
            prop_assert_eq!(&content, &build(&objects, &pieces));
            prop_assert_eq!(list(&objects, &content), merge(&pieces));
        }
        // Down to a few pieces or none.
        let old = units(&pieces);
        let keep = cut.index(old.len().min(40) + 1);
        let edit = Edit { range: size(&old[..keep])..size(&old), items: vec![] };
        content = splice(&objects, &content, vec![edit]).unwrap();
        prop_assert_eq!(&content, &build(&objects, &old[..keep]));
    }
}
