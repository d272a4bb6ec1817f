//! Several packs in one file: small ones that are neighbours, joined so that there are fewer files.
//!
//! Nothing in a pack moves: its number and every place in it stay what they were, so that neither the index nor
//! any record is touched. Only the file is another: its frames hold the bytes of these packs, one after the other,
//! and before and after them, each in frames of its own, a list of where they are.
//!
//! ```text
//! name      00000003-00000007.pack: of the first and the last pack
//! content   list, packs, list
//! list      number of packs, u32
//!           length of each, u32
//!           number of packs, u32
//!           BLAKE3 of store id, number of the first pack, and all of this; first 8 bytes
//! ```
//! Where a file has packs that another has too, that of more packs counts: a process that died in between left
//! the others behind.

use std::io;

use super::footer::FooterEntry;
use super::frames::{Form, Whose};
use super::header::{RECORD_HEADER, be32, check};
use super::read_at::ReadAt;

/// Most packs in a file: all of the list is read to read any.
pub const MEMBERS_MAX: usize = 4096;
/// Bytes of a list beside the lengths.
const LIST: u64 = 16;

/// Length of the list of so many packs.
pub fn list_len(count: u32) -> u64 {
    LIST + 4 * u64::from(count)
}

fn encode_list((store, first): Whose, lens: &[u32]) -> Vec<u8> {
    let count = (lens.len() as u32).to_be_bytes();
    let mut out = count.to_vec();
    lens.iter().for_each(|len| out.extend(len.to_be_bytes()));
    out.extend(count);
    let sum = check(&[&store.0[..], &first.to_be_bytes(), &out].concat());
    out.extend(sum);
    out
}

/// Where the packs of a file begin in what its frames hold, and where the last one ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    starts: Vec<u64>,
    whole: bool,
}

impl Members {
    /// The packs in `content`, of which that of `whose` is the first; `None` where no list is left.
    pub fn read(content: &impl ReadAt, whose: Whose) -> io::Result<Option<Members>> {
        let len = content.size()?;
        let Some(last) = len.checked_sub(LIST) else { return Ok(None) };
        // The number of packs is at both ends of a list, so that it is found from either.
        let first = read_list(content, whose, 0, |_| 0)?;
        let last = read_list(content, whose, last + 4, |size| len.saturating_sub(size))?;
        let whole = first.is_some() && first == last;
        let Some(lens) = first.or(last) else { return Ok(None) };
        let mut starts = vec![list_len(lens.len() as u32)];
        for len in lens {
            starts.push(starts[starts.len() - 1] + u64::from(len));
        }
        let whole = whole && starts.last().is_some_and(|end| end + starts[0] == len);
        Ok(Some(Members { starts, whole }))
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        (self.starts.len() - 1) as u32
    }

    /// Whether both lists are what they were.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Where the pack that comes `n` after the first begins, and how long it is.
    pub fn place(&self, n: u32) -> Option<(u64, u64)> {
        let (from, to) = (*self.starts.get(n as usize)?, *self.starts.get(n as usize + 1)?);
        Some((from, to - from))
    }
}

/// The lengths that a list says, whose number of packs is at `count_at`; `None` where it is not what it was.
fn read_list(
    content: &impl ReadAt,
    whose: Whose,
    count_at: u64,
    start: impl Fn(u64) -> u64,
) -> io::Result<Option<Vec<u32>>> {
    let mut count = [0; 4];
    content.fill_at(&mut count, count_at)?;
    let count = be32(&count, 0);
    if count as usize > MEMBERS_MAX || list_len(count) > content.size()? {
        return Ok(None);
    }
    let mut list = vec![0; list_len(count) as usize];
    content.fill_at(&mut list, start(list_len(count)))?;
    let lens: Vec<u32> = (0..count as usize).map(|n| be32(&list, 4 + 4 * n)).collect();
    Ok((list == encode_list(whose, &lens)).then_some(lens))
}

/// A record of a row: where it begins and ends.
pub struct Extent {
    /// Where its header begins.
    pub start: u64,
    /// Where its payload ends.
    pub end: u64,
}

/// What a file of frames is to hold: a pack, or several that are neighbours, and then the lists of them too.
pub struct Row<'a> {
    whose: Whose,
    /// Parts, and where each begins.
    parts: Vec<(u64, Box<dyn ReadAt + 'a>)>,
    list: u64,
    len: u64,
    records: Vec<Extent>,
}

impl<'a> Row<'a> {
    /// Of these packs and their records, of which that of `whose` is the first.
    ///
    /// # Errors
    /// Where they have over 4 GiB.
    pub fn new(whose: Whose, packs: Vec<(Box<dyn ReadAt + 'a>, Vec<FooterEntry>)>) -> io::Result<Row<'a>> {
        let too_long = || io::Error::other("packs of over 4 GiB");
        let lens = packs.iter().map(|(pack, _)| u32::try_from(pack.size()?).map_err(|_| too_long()));
        let lens = lens.collect::<io::Result<Vec<u32>>>()?;
        let list = if packs.len() > 1 { encode_list(whose, &lens) } else { Vec::new() };
        let mut row = Row { whose, parts: Vec::new(), list: list.len() as u64, len: 0, records: Vec::new() };
        row.add(Box::new(list.clone()), Vec::new())?;
        packs.into_iter().try_for_each(|(pack, records)| row.add(pack, records))?;
        row.add(Box::new(list), Vec::new())?;
        u32::try_from(row.len).map(|_| row).map_err(|_| too_long())
    }

    fn add(&mut self, part: Box<dyn ReadAt + 'a>, records: Vec<FooterEntry>) -> io::Result<()> {
        let (base, size) = (self.len, part.size()?);
        self.records.extend(records.into_iter().map(|entry| {
            let start = base + u64::from(entry.offset);
            Extent { start, end: start + u64::from(RECORD_HEADER) + u64::from(entry.header.stored) }
        }));
        if size > 0 {
            self.parts.push((base, part));
        }
        self.len += size;
        Ok(())
    }

    /// What a file of it is.
    pub fn form(&self) -> Form {
        if self.list == 0 { Form::Compressed } else { Form::Joined }
    }

    /// Its first pack.
    pub fn whose(&self) -> Whose {
        self.whose
    }

    /// Its records, in order.
    pub fn records(&self) -> &[Extent] {
        &self.records
    }

    /// Where no frame goes across: damage must not cost both lists.
    pub fn edges(&self) -> Vec<u64> {
        if self.list == 0 { Vec::new() } else { vec![self.list, self.len - self.list] }
    }
}

impl ReadAt for Row<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn fill_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        if at.checked_add(out.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let first = self.parts.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        let (mut rest, mut at) = (out, at);
        for (start, part) in &self.parts[first..] {
            let len = (start + part.size()? - at).min(rest.len() as u64);
            let (now, later) = rest.split_at_mut(len as usize);
            part.fill_at(now, at - start)?;
            at += len;
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hash::hex;
    use crate::store::identity::StoreId;

    const WHOSE: Whose = (StoreId([0xab; 16]), 3);

    #[test]
    fn lists_keep_their_bytes() {
        assert_eq!(
            hex(&encode_list(WHOSE, &[7, 300])),
            format!("0000000200000007{:08x}00000002{}", 300, &hex(&encode_list(WHOSE, &[7, 300]))[32..])
        );
        assert_eq!(&hex(&encode_list(WHOSE, &[7, 300]))[32..], "598723a36425b7ae");
    }

    #[test]
    fn one_list_of_the_two_is_enough() {
        let parts: [&[u8]; 3] = [b"first", b"", b"the third"];
        let packs = parts.map(|part| (Box::new(part.to_vec()) as Box<dyn ReadAt>, Vec::new()));
        let row = Row::new(WHOSE, packs.into()).unwrap();
        let mut bytes = vec![0; row.size().unwrap() as usize];
        row.fill_at(&mut bytes, 0).unwrap();
        for at in 0..bytes.len() {
            let mut part = vec![0; bytes.len() - at];
            row.fill_at(&mut part, at as u64).unwrap();
            assert!(part == bytes[at..], "from {at}");
        }
        let members = Members::read(&bytes, WHOSE).unwrap().unwrap();
        assert_eq!((members.count(), members.is_whole()), (3, true));
        let read = |n| members.place(n).map(|(at, len)| &bytes[at as usize..(at + len) as usize]);
        assert_eq!([read(0), read(1), read(2)], parts.map(Some));
        assert_eq!((members.place(3), members.place(u32::MAX)), (None, None));
        let list = bytes.len() - 14;
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            let is_listed = (28..28 + 14).contains(&at);
            let found = Members::read(&bad, WHOSE).unwrap().unwrap();
            assert_eq!((&found.starts, found.is_whole()), (&members.starts, is_listed), "byte {at}");
            bad[if at < list / 2 { bytes.len() - 1 } else { 0 }] ^= 4;
            assert_eq!(Members::read(&bad, WHOSE).unwrap().is_some(), is_listed, "byte {at} and another");
        }
        assert_eq!(Members::read(&bytes, (WHOSE.0, 4)).unwrap(), None, "it is of other packs");
    }

    #[test]
    fn a_pack_alone_has_no_list() {
        let row = Row::new(WHOSE, vec![(Box::new(b"alone".to_vec()), Vec::new())]).unwrap();
        assert_eq!((row.form(), row.size().unwrap(), row.edges()), (Form::Compressed, 5, vec![]));
    }
}
