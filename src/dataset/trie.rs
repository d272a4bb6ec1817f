//! The entries of one directory: a radix-16 tree over name keys that carries the directory's hash.
//!
//! A subtree of at most [`LEAF_MAX`] entries is one leaf, a larger one has sixteen children by the next
//! hexadecimal digit of the key. The shape follows from the set of names alone, so the hash does too,
//! whatever the order in which names came and went. Hashes are cached on every node and forgotten along
//! the path of a change, so a change costs one path, however large the directory.
//!
//! Encoding hashed for a leaf: `0x00`, then for each entry in key order its kind byte, its child id
//! (32 bytes), the name's length (1 byte) and the name. For an inner node: `0x01`, then the sixteen
//! children's hashes, 32 zero bytes for an empty one. An empty directory is an empty leaf.

use crate::model::{Ino, Kind, Name, NameKey, TreeHash};

/// Most entries of a leaf.
pub const LEAF_MAX: usize = 24;

/// An entry as the trie keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Key of `name`.
    pub key: NameKey,
    /// The entry's name.
    pub name: Name,
    /// What it names.
    pub ino: Ino,
    /// The kind of what it names.
    pub kind: Kind,
}

/// What an entry contributes to its directory's hash: a kind byte and the hash of what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildId {
    /// One of the `TAG_` constants.
    pub tag: u8,
    /// Content id, tree hash, hash of a symlink's target, or device number.
    pub hash: [u8; 32],
}

impl ChildId {
    /// A regular file that its owner may not execute.
    pub const TAG_FILE: u8 = 0;
    /// A regular file that its owner may execute.
    pub const TAG_EXECUTABLE: u8 = 1;
    /// A directory.
    pub const TAG_DIR: u8 = 2;
    /// A symbolic link.
    pub const TAG_SYMLINK: u8 = 3;
    /// The first of the special kinds, in the order of [`Kind`].
    pub const TAG_SPECIAL: u8 = 4;
}

#[derive(Debug)]
enum Node {
    Leaf(Vec<Slot>),
    Inner(Box<[Trie; 16]>),
}

/// The entries of a directory, or of the part of it whose keys share their first digits.
#[derive(Debug)]
pub struct Trie {
    node: Node,
    len: usize,
    hash: Option<TreeHash>,
}

impl Default for Trie {
    fn default() -> Self {
        Trie { node: Node::Leaf(Vec::new()), len: 0, hash: None }
    }
}

impl Trie {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry of `key`.
    pub fn get(&self, key: &NameKey) -> Option<&Slot> {
        let mut trie = self;
        let mut depth = 0;
        loop {
            match &trie.node {
                Node::Leaf(slots) => {
                    return slots.binary_search_by_key(key, |s| s.key).ok().map(|i| &slots[i]);
                }
                Node::Inner(children) => trie = &children[key.digit(depth)],
            }
            depth += 1;
        }
    }

    /// Puts an entry, in place of the one of that key if there is one, which is returned.
    pub fn insert(&mut self, slot: Slot) -> Option<Slot> {
        self.insert_at(slot, 0)
    }

    fn insert_at(&mut self, slot: Slot, depth: usize) -> Option<Slot> {
        self.hash = None;
        let old = match &mut self.node {
            Node::Inner(children) => children[slot.key.digit(depth)].insert_at(slot, depth + 1),
            Node::Leaf(slots) => match slots.binary_search_by_key(&slot.key, |s| s.key) {
                Ok(i) => Some(std::mem::replace(&mut slots[i], slot)),
                Err(i) => {
                    slots.insert(i, slot);
                    None
                }
            },
        };
        if old.is_none() {
            self.len += 1;
            self.split_if_large(depth);
        }
        old
    }

    fn split_if_large(&mut self, depth: usize) {
        if self.len <= LEAF_MAX {
            return;
        }
        if let Node::Leaf(slots) = &mut self.node {
            let mut children: Box<[Trie; 16]> = Box::default();
            for slot in std::mem::take(slots) {
                children[slot.key.digit(depth)].insert_at(slot, depth + 1);
            }
            self.node = Node::Inner(children);
        }
    }

    /// Takes out the entry of `key`.
    pub fn remove(&mut self, key: &NameKey) -> Option<Slot> {
        self.remove_at(key, 0)
    }

    fn remove_at(&mut self, key: &NameKey, depth: usize) -> Option<Slot> {
        let removed = match &mut self.node {
            Node::Inner(children) => children[key.digit(depth)].remove_at(key, depth + 1)?,
            Node::Leaf(slots) => slots.remove(slots.binary_search_by_key(key, |s| s.key).ok()?),
        };
        self.len -= 1;
        self.hash = None;
        if self.len <= LEAF_MAX && matches!(self.node, Node::Inner(_)) {
            let mut slots = Vec::with_capacity(self.len);
            self.drain_into(&mut slots);
            self.node = Node::Leaf(slots);
        }
        Some(removed)
    }

    fn drain_into(&mut self, out: &mut Vec<Slot>) {
        match &mut self.node {
            Node::Leaf(slots) => out.append(slots),
            Node::Inner(children) => children.iter_mut().for_each(|c| c.drain_into(out)),
        }
    }

    /// Forgets the hashes that depend on what the entry of `key` names.
    pub fn touch(&mut self, key: &NameKey) {
        let mut trie = self;
        let mut depth = 0;
        loop {
            trie.hash = None;
            match &mut trie.node {
                Node::Leaf(_) => return,
                Node::Inner(children) => trie = &mut children[key.digit(depth)],
            }
            depth += 1;
        }
    }

    /// Calls `each` for the entries in key order whose position is at least `position`, until it
    /// returns false.
    pub fn scan(&self, position: u64, each: &mut dyn FnMut(&Slot) -> bool) -> bool {
        match &self.node {
            Node::Leaf(slots) => slots.iter().filter(|s| s.key.position() >= position).all(each),
            // A child holds the keys that share its digits; the first that can matter is found by
            // comparing its last possible key.
            Node::Inner(children) => children
                .iter()
                .all(|c| c.last().is_none_or(|k| k.position() < position) || c.scan(position, each)),
        }
    }

    fn last(&self) -> Option<NameKey> {
        match &self.node {
            Node::Leaf(slots) => slots.last().map(|s| s.key),
            Node::Inner(children) => children.iter().rev().find_map(Trie::last),
        }
    }

    /// The directory's hash; `child` says what an entry contributes and is asked only where something
    /// changed since the last time.
    pub fn hash<E>(&mut self, child: &mut dyn FnMut(&Slot) -> Result<ChildId, E>) -> Result<TreeHash, E> {
        if let Some(hash) = self.hash {
            return Ok(hash);
        }
        let mut encoded;
        match &mut self.node {
            Node::Leaf(slots) => {
                encoded = Vec::with_capacity(1 + slots.len() * 64);
                encoded.push(0);
                for slot in slots {
                    encode_entry(child(slot)?, &slot.name, &mut encoded);
                }
            }
            Node::Inner(children) => {
                encoded = Vec::with_capacity(1 + 16 * 32);
                encoded.push(1);
                for trie in children.iter_mut() {
                    let hash = if trie.is_empty() { [0; 32] } else { trie.hash(child)?.0 };
                    encoded.extend_from_slice(&hash);
                }
            }
        }
        let hash = TreeHash::of(&encoded);
        self.hash = Some(hash);
        Ok(hash)
    }
}

fn encode_entry(id: ChildId, name: &Name, into: &mut Vec<u8>) {
    into.push(id.tag);
    into.extend_from_slice(&id.hash);
    into.push(name.as_bytes().len() as u8);
    into.extend_from_slice(name.as_bytes());
}

/// The hash of a directory of these entries, which are in the order of their keys, as [`Trie::hash`] gives it. `key`
/// and `entry` tell of each its key, and what it contributes under which name.
pub fn hash_of<'a, T>(
    entries: &'a [T],
    key: &dyn Fn(&T) -> NameKey,
    entry: &dyn Fn(&'a T) -> (ChildId, &'a Name),
) -> TreeHash {
    hash_at(entries, 0, key, entry)
}

fn hash_at<'a, T>(
    entries: &'a [T],
    depth: usize,
    key: &dyn Fn(&T) -> NameKey,
    entry: &dyn Fn(&'a T) -> (ChildId, &'a Name),
) -> TreeHash {
    let mut encoded = Vec::with_capacity(1 + 16 * 32);
    if entries.len() <= LEAF_MAX {
        encoded.push(0);
        for (id, name) in entries.iter().map(entry) {
            encode_entry(id, name, &mut encoded);
        }
        return TreeHash::of(&encoded);
    }
    encoded.push(1);
    let mut rest = entries;
    for digit in 0..16 {
        let (child, others) = rest.split_at(rest.partition_point(|it| key(it).digit(depth) <= digit));
        rest = others;
        let hash = if child.is_empty() { [0; 32] } else { hash_at(child, depth + 1, key, entry).0 };
        encoded.extend_from_slice(&hash);
    }
    TreeHash::of(&encoded)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn slot(n: u32) -> Slot {
        let name = Name::new(format!("file-{n}").as_bytes()).unwrap();
        Slot { key: name.key(), name, ino: Ino(u64::from(n) + 2), kind: Kind::File }
    }

    fn hash(trie: &mut Trie) -> TreeHash {
        trie.hash(&mut |s: &Slot| Ok::<_, Infallible>(child(s.ino))).unwrap()
    }

    fn child(ino: Ino) -> ChildId {
        ChildId { tag: 0, hash: *blake3::hash(&ino.0.to_le_bytes()).as_bytes() }
    }

    proptest! {
        #[test]
        fn hash_and_order_follow_from_the_set_of_names(
            steps in prop::collection::vec((any::<bool>(), 0u32..200), 0..600)
        ) {
            let (mut trie, mut model) = (Trie::default(), BTreeMap::new());
            for (i, (add, n)) in steps.into_iter().enumerate() {
                let s = slot(n);
                if add {
                    prop_assert_eq!(trie.insert(s.clone()), model.insert(s.key, s));
                } else {
                    prop_assert_eq!(trie.remove(&s.key), model.remove(&s.key));
                }
                if i % 7 == 0 {
                    hash(&mut trie);
                }
            }
            prop_assert_eq!(trie.len(), model.len());
            let mut fresh = Trie::default();
            model.values().rev().for_each(|s| assert!(fresh.insert(s.clone()).is_none()));
            prop_assert_eq!(hash(&mut trie), hash(&mut fresh));
            let sorted: Vec<&Slot> = model.values().collect();
            let of_list = hash_of(&sorted, &|s| s.key, &|s| (child(s.ino), &s.name));
            prop_assert_eq!(hash(&mut trie), of_list);
            let mut listed = Vec::new();
            trie.scan(0, &mut |s| { listed.push(s.key); true });
            prop_assert_eq!(&listed, &model.keys().copied().collect::<Vec<_>>());
            if let Some(middle) = listed.get(listed.len() / 2) {
                let mut rest = Vec::new();
                trie.scan(middle.position(), &mut |s| { rest.push(s.key); true });
                prop_assert_eq!(&rest[..], &listed[listed.len() / 2..]);
            }
        }
    }

    #[test]
    fn touch_makes_the_hash_ask_again() {
        let mut trie = Trie::default();
        (0..100).for_each(|n| assert!(trie.insert(slot(n)).is_none()));
        let before = hash(&mut trie);
        trie.touch(&slot(50).key);
        let mut asked = 0;
        let after = trie
            .hash(&mut |s: &Slot| {
                asked += 1;
                Ok::<_, Infallible>(child(if s.ino == slot(50).ino { Ino(9999) } else { s.ino }))
            })
            .unwrap();
        assert_ne!(before, after);
        assert!(asked <= LEAF_MAX, "asked for {asked} entries");
    }
}
