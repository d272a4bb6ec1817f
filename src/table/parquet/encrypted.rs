//! Whether a file is encrypted, but for its footer: the crate takes no note of that, and stumbles later.
//!
//! The footer is a struct in the compact protocol of Thrift, of which a field names the algorithm. No more of it is
//! read than where each field ends.

use super::super::bytes::{Bytes, fill};

/// The field of the footer that is there in encrypted files alone.
const ALGORITHM: i64 = 8;
/// Longest footer that is looked at.
const FOOTER_MAX: u64 = 64 << 20;
/// Deepest nesting of a footer.
const DEPTH_MAX: u32 = 32;

/// Whether the footer says that columns are encrypted; not where that cannot be told.
pub fn is_encrypted(bytes: &dyn Bytes) -> bool {
    footer(bytes).is_some_and(|footer| has_field(&footer, ALGORITHM).unwrap_or(false))
}

/// The footer: it is before its length and the magic.
fn footer(bytes: &dyn Bytes) -> Option<Vec<u8>> {
    let end = bytes.size().checked_sub(8)?;
    let mut length = [0; 4];
    let read = |at: u64, out: &mut [u8]| fill(bytes, at, out).ok().filter(|read| *read == out.len());
    read(end, &mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > FOOTER_MAX {
        return None;
    }
    let mut footer = vec![0; usize::try_from(length).ok()?];
    read(end.checked_sub(length)?, &mut footer)?;
    Some(footer)
}

/// Whether a struct has a field of its own with this number; `None` where it is malformed.
fn has_field(mut rest: &[u8], wanted: i64) -> Option<bool> {
    let mut number = 0;
    loop {
        let Some(kind) = field(&mut rest, &mut number)? else { return Some(false) };
        if number == wanted {
            return Some(true);
        }
        // Truth values of a field are in its head.
        if kind > 2 {
            skip(&mut rest, kind, 0)?;
        }
    }
}

/// Reads the head of a field: sets its number, gives its kind, or nothing at the end of a struct.
fn field(rest: &mut &[u8], number: &mut i64) -> Option<Option<u8>> {
    let head = byte(rest)?;
    if head == 0 {
        return Some(None);
    }
    *number = match head >> 4 {
        0 => {
            let zigzag = varint(rest)?;
            (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
        }
        more => number.checked_add(i64::from(more))?,
    };
    Some(Some(head & 15))
}

/// Passes over a value.
fn skip(rest: &mut &[u8], kind: u8, depth: u32) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    match kind {
        // In lists, a truth value is a byte.
        1..=3 => pass(rest, 1),
        4..=6 => varint(rest).map(|_| ()),
        7 => pass(rest, 8),
        8 => {
            let length = varint(rest)?;
            pass(rest, length)
        }
        9 | 10 => {
            let head = byte(rest)?;
            let count = if head >> 4 == 15 { varint(rest)? } else { u64::from(head >> 4) };
            (0..count).try_for_each(|_| skip(rest, head & 15, depth + 1))
        }
        11 => {
            let count = varint(rest)?;
            let kinds = if count > 0 { byte(rest)? } else { 0 };
            (0..count).try_for_each(|_| {
                skip(rest, kinds >> 4, depth + 1)?;
                skip(rest, kinds & 15, depth + 1)
            })
        }
        12 => {
            let mut number = 0;
            while let Some(kind) = field(rest, &mut number)? {
                if kind > 2 {
                    skip(rest, kind, depth + 1)?;
                }
            }
            Some(())
        }
        13 => pass(rest, 16),
        _ => None,
    }
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

fn pass(rest: &mut &[u8], count: u64) -> Option<()> {
    *rest = rest.get(usize::try_from(count).ok()?..)?;
    Some(())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(rest)?;
        number |= u64::from(next & 127) << shift;
        if next & 128 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_is_looked_through_for_a_field() {
        // 1: i32, 2: list of structs with a text, 3: i64, 6: text, 8: struct.
        let start = [0x15, 2, 0x19, 0x1c, 0x48, 1, b'a', 0, 0x16, 0x80, 1, 0x38, 2, b'x', b'y'];
        let algorithm = [0x2c, 0x1c, 0, 0, 0];
        let (plain, encrypted) = ([&start[..], &[0]].concat(), [&start[..], &algorithm].concat());
        assert_eq!((has_field(&plain, 8), has_field(&encrypted, 8)), (Some(false), Some(true)));
        for end in 0..plain.len() {
            assert_eq!(has_field(&plain[..end], 8), None, "cut off at {end}");
        }
        assert_eq!(has_field(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f], 8), None);
    }
}
