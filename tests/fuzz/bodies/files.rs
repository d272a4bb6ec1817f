//! What files are made of: manifests that somebody else wrote, and changes of any sort to a file.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use stratafs::model::{ChunkHash, ChunkRef, Content, NodeHash, TreeRef};
use stratafs::store::content::Builder;
use stratafs::store::manifest::{Child, Items, Node, locate, pieces_from};
use stratafs::store::{
    Error, ObjectStore, Objects, ReadPart, WorkingFile, content_id, data_size, next_data, next_hole, read_at,
};

use super::input::{Input, Script};
use super::samples::{noise, shared_dir};

/// Chunks and nodes in memory. A chunk that was never put has bytes all the same.
#[derive(Default)]
pub struct MemObjects {
    chunks: Mutex<HashMap<ChunkHash, Vec<u8>>>,
    nodes: Mutex<HashMap<NodeHash, Vec<u8>>>,
}

impl ObjectStore for MemObjects {
    fn put_chunks(&self, chunks: &[&[u8]]) -> Result<Vec<ChunkRef>, Error> {
        let mut stored = self.chunks.lock();
        let refs = chunks.iter().map(|bytes| {
            let hash = ChunkHash::of(bytes);
            stored.insert(hash, bytes.to_vec());
            ChunkRef { hash, len: bytes.len() as u32 }
        });
        Ok(refs.collect())
    }

    fn read_parts(&self, parts: &mut [ReadPart<'_>]) -> Result<(), Error> {
        let stored = self.chunks.lock();
        for part in parts {
            let (skip, len) = (part.skip as usize, part.out.len());
            assert!(skip + len <= part.chunk.len as usize, "a part beyond its chunk");
            match stored.get(&part.chunk.hash) {
                Some(bytes) if bytes.len() == part.chunk.len as usize => {
                    part.out.copy_from_slice(&bytes[skip..][..len]);
                }
                Some(_) => return Err(Error::Corrupt("a chunk of another length".into())),
                None => part.out.fill(0xaa),
            }
        }
        Ok(())
    }

    fn put_node(&self, encoded: &[u8]) -> Result<NodeHash, Error> {
        let hash = NodeHash::of(encoded);
        self.nodes.lock().insert(hash, encoded.to_vec());
        Ok(hash)
    }

    fn node(&self, hash: &NodeHash) -> Result<Vec<u8>, Error> {
        self.nodes.lock().get(hash).cloned().ok_or_else(|| Error::Missing(format!("manifest node {hash}")))
    }
}

/// Nodes whose children are each other, by any tree reference.
pub fn manifests(bytes: &[u8]) {
    plain_node(bytes);
    let store = MemObjects::default();
    let mut input = Input(bytes);
    let (wanted, depth, offset) = (input.u64(), input.byte(), input.u64());
    let mut made: Vec<(NodeHash, u64)> = Vec::new();
    while !input.is_empty() && made.len() < 32 {
        let honest = input.byte() % 4 != 0;
        let block = input.block();
        let encoded = match Node::decode(block) {
            Ok(node) => adopt(node, &made, honest).encode(),
            Err(_) => block.to_vec(),
        };
        let size = Node::decode(&encoded).map_or(1, |node| node.size());
        made.push((store.put_node(&encoded).expect("memory takes all"), size));
    }
    let Some(&(root, size)) = made.last() else { return };
    let size = if wanted == 0 { size } else { wanted };
    let content = Content::Tree(TreeRef { root, size, depth });
    if stratafs::model::check::Check::check(&content).is_ok() {
        look(&Objects::new(Arc::new(store)), &content, offset % size);
    }
}

/// A node on its own.
fn plain_node(bytes: &[u8]) {
    if let Ok(node) = Node::decode(bytes) {
        assert_eq!(node.encode(), bytes);
        assert!(node.size() <= i64::MAX as u64);
    }
}

/// Puts nodes there are in place of a node's children; where `honest`, with the sizes they have.
fn adopt(mut node: Node, made: &[(NodeHash, u64)], honest: bool) -> Node {
    if let (Items::Children(children), false) = (&mut node.items, made.is_empty()) {
        for child in children.iter_mut() {
            let (hash, size) = made[usize::from(child.hash.0[0]) % made.len()];
            *child = Child { hash, size: if honest { size } else { child.size } };
        }
        let total = children.iter().try_fold(0_u64, |sum, child| sum.checked_add(child.size));
        if total.is_none_or(|total| total > i64::MAX as u64) {
            children.truncate(1);
        }
    }
    node
}

/// Reads of a file: pieces tile it, and what is found is where it says.
fn look(objects: &Objects, content: &Content, offset: u64) {
    let mut at = None;
    for piece in pieces_from(objects, content, offset).take(600) {
        let Ok((start, piece)) = piece else { break };
        assert_eq!(at.unwrap_or(start), start);
        assert!(at.is_some() || start <= offset && offset < start + piece.len());
        at = Some(start + piece.len());
    }
    if let Ok(Some((start, piece))) = locate(objects, content, offset) {
        assert!(start <= offset && offset < start + piece.len());
    }
    let mut out = [0; 5000];
    if let Ok(read) = read_at(objects, content, offset, &mut out) {
        assert_eq!(read as u64, (content.size() - offset).min(out.len() as u64));
    }
    if let Ok(data) = data_size(objects, content) {
        assert!(data <= content.size());
    }
    // Finding the end of data takes as long as there are pieces of it.
    if content.size() < 4 << 20 {
        let (data, hole) = (next_data(objects, content, offset), next_hole(objects, content, offset));
        assert!(data.is_err() || data.is_ok_and(|found| found.is_none_or(|at| at >= offset)));
        assert!(hole.is_err() || hole.is_ok_and(|found| found.is_some_and(|at| at >= offset)));
    }
    edit(objects, content, offset);
}

/// Changes to such a file work or fail, and what they give can be read.
fn edit(objects: &Objects, content: &Content, offset: u64) {
    let mut file = WorkingFile::new(content.clone(), &shared_dir());
    let written = file.write_at(objects, offset, b"changed");
    assert!(
        written.is_ok() || offset.checked_add(7).is_none_or(|end| end > i64::MAX as u64) || file.size() > 0
    );
    if written.is_ok()
        && content.size() < 4 << 20
        && let Ok(settled) = file.settle(objects)
    {
        assert_eq!(settled.size(), content.size().max(offset + 7));
        let mut out = [0; 7];
        if let Ok(read) = read_at(objects, &settled, offset, &mut out) {
            assert_eq!((read, &out), (7, b"changed"));
        }
    }
}

/// Leaves and nodes above them.
pub fn manifest_seeds() -> Vec<Vec<u8>> {
    let mut leaf = vec![1, 0, 3, 0, 0x45, 0x23, 0x01, 0];
    leaf.extend([7; 32]);
    leaf.extend([0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    leaf.extend([0x10, 0x27, 0, 0]);
    leaf.extend([9; 32]);
    let inner = |level: u8, children: &[u8]| {
        let mut node = vec![1, level, children.len() as u8, 0];
        for child in children {
            node.extend([*child; 32]);
            node.extend(1000_u64.to_le_bytes());
        }
        node
    };
    let tree = |size: u64, depth: u8, nodes: &[&[u8]]| {
        let head = Script::default().raw(&size.to_le_bytes()).raw(&[depth]).raw(&50_000_u64.to_le_bytes());
        nodes.iter().fold(head, |script, node| script.raw(&[1]).block(node)).0
    };
    vec![
        leaf.clone(),
        inner(1, &[0, 0]),
        tree(0, 1, &[&leaf]),
        tree(0, 2, &[&leaf, &inner(1, &[0, 0])]),
        tree(0, 3, &[&leaf, &inner(1, &[0, 0, 0]), &inner(2, &[1, 1])]),
        tree(5_000, 2, &[&leaf, &inner(1, &[0, 0])]),
        tree(1 << 62, 4, &[&leaf, &inner(1, &[0]), &inner(2, &[1]), &inner(3, &[2, 2])]),
    ]
}

/// Longest file that changes are made to.
const FILE_MAX: u64 = 600 << 10;

/// A file and what its bytes are to be.
struct Checked {
    objects: Objects,
    file: WorkingFile,
    model: Vec<u8>,
    settled: Content,
}

impl Checked {
    fn check(&mut self, offset: u64) {
        self.file.join();
        assert_eq!(self.file.size(), self.model.len() as u64);
        let mut out = vec![1; 70_000];
        let read = self.file.read_at(&self.objects, offset, &mut out).expect("read");
        let rest = self.model.get(offset as usize..).unwrap_or_default();
        assert!(out[..read] == rest[..rest.len().min(out.len())], "bytes from {offset} on");
        let hole = self.file.next_hole(&self.objects, offset).expect("seek");
        assert_eq!(hole.is_some(), offset < self.file.size());
        let data = self.file.next_data(&self.objects, offset).expect("seek");
        let end = data.unwrap_or(self.file.size()).max(offset) as usize;
        let skipped = self.model.get(offset as usize..end).unwrap_or_default();
        assert!(skipped.iter().all(|b| *b == 0), "a hole of bytes that are none");
    }

    fn settle(&mut self) {
        self.settled = self.file.settle(&self.objects).expect("settle");
        let mut builder = Builder::new(&self.objects);
        builder.write(&self.model).expect("build");
        assert_eq!(content_id(&self.settled), content_id(&builder.finish().expect("build")));
    }
}

/// Changes one after the other, each checked against plain bytes.
pub fn working_file(bytes: &[u8]) {
    let objects = Objects::new(Arc::new(MemObjects::default()));
    let file = WorkingFile::new(Content::Empty, &shared_dir());
    let mut checked = Checked { objects, file, model: Vec::new(), settled: Content::Empty };
    let mut input = Input(bytes);
    for _ in 0..40 {
        if input.is_empty() {
            break;
        }
        let sort = input.byte();
        let (offset, len) = (u64::from(input.u32()) % FILE_MAX, u64::from(input.u32()) % (FILE_MAX / 4));
        step(&mut checked, sort, offset, len, &mut input);
        checked.check(offset.saturating_sub(len % 3));
    }
    checked.settle();
}

fn step(checked: &mut Checked, sort: u8, offset: u64, len: u64, input: &mut Input<'_>) {
    let Checked { objects, file, model, settled } = checked;
    let (at, end) = (offset as usize, (offset + len) as usize);
    match sort % 6 {
        0 | 1 => {
            let fill = if sort & 8 == 0 {
                noise(u64::from(sort) ^ len, len as usize)
            } else {
                vec![0; len as usize]
            };
            let data = if sort.is_multiple_of(6) { input.block() } else { &fill };
            file.write_at(objects, offset, data).expect("write");
            if !data.is_empty() {
                model.resize(model.len().max(at + data.len()), 0);
                model[at..at + data.len()].copy_from_slice(data);
            }
        }
        2 => {
            file.truncate(objects, offset).expect("truncate");
            model.resize(at, 0);
        }
        3 => {
            file.zero_range(objects, offset, len).expect("zero");
            let end = end.min(model.len());
            model[at.min(end)..end].fill(0);
        }
        4 => {
            let from = u64::from(input.u32()) % FILE_MAX;
            let mut source = vec![0; len as usize];
            let read = read_at(objects, settled, from, &mut source).expect("read");
            let moved = file.splice_from(objects, offset, settled, from, len).expect("copy");
            assert_eq!(moved, read as u64);
            if read > 0 {
                model.resize(model.len().max(at + read), 0);
                model[at..at + read].copy_from_slice(&source[..read]);
            }
        }
        _ => checked.settle(),
    }
}

/// A change as [`working_file`] reads it.
fn change(sort: u8, offset: u32, len: u32, rest: &[u8]) -> Vec<u8> {
    [&[sort][..], &offset.to_le_bytes(), &len.to_le_bytes(), rest].concat()
}

/// Changes of each sort.
pub fn working_seeds() -> Vec<Vec<u8>> {
    let text = |bytes: &[u8]| Script::default().block(bytes).0;
    let (big, settle) = (change(1, 0, 150_000, &[]), change(5, 0, 0, &[]));
    let copy = change(4, 70_000, 100_000, &[9, 0, 0, 0]);
    let cuts =
        [change(3, 4_000, 140_000, &[]), change(2, 100_000, 0, &[]), change(2, 400_000, 0, &[])].concat();
    let zeros = change(9, 500_000, 140_000, &[]);
    vec![
        change(0, 0, 0, &text(b"some bytes")),
        [big.clone(), change(1, 150_000, 140_000, &[]), settle.clone()].concat(),
        [big.clone(), settle.clone(), copy, settle.clone()].concat(),
        [big, cuts].concat(),
        [zeros, settle, change(0, 3, 0, &text(b"abc")), change(2, 5, 0, &[])].concat(),
    ]
}
