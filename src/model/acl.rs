//! Access control lists that say no more than permission bits.

/// The extended attributes by which the kernel hands over the access control list of a file, and that which the
/// files made in a directory begin with.
pub const ACL_XATTRS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// Format of its value, linux/posix_acl_xattr.h: a version, then for each entry a tag, permissions (16 bits
/// each) and an id that means nothing for these; all little-endian.
const VERSION: [u8; 4] = 2u32.to_le_bytes();
/// The tags of owner, group and all others, in the order in which they must come, and by how many bits their
/// permissions are shifted in a mode.
const ENTRIES: [(u16, u32); 3] = [(0x01, 6), (0x04, 3), (0x20, 0)];

/// The permission bits that mean the same as the list, if it has entries for owner, group and others alone:
/// `None` for any other, and for what is no list.
pub fn permissions(acl: &[u8]) -> Option<u32> {
    let (entries, rest) = acl.strip_prefix(&VERSION)?.as_chunks::<8>();
    if entries.len() != ENTRIES.len() || !rest.is_empty() {
        return None;
    }
    let mut mode = 0;
    for (entry, (tag, shift)) in entries.iter().zip(ENTRIES) {
        let [t0, t1, p0, p1, ..] = *entry;
        let granted = u16::from_le_bytes([p0, p1]);
        if u16::from_le_bytes([t0, t1]) != tag || granted > 0o7 {
            return None;
        }
        mode |= u32::from(granted) << shift;
    }
    Some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16)]) -> Vec<u8> {
        let entry = |(tag, granted): &(u16, u16)| {
            [&tag.to_le_bytes()[..], &granted.to_le_bytes(), &u32::MAX.to_le_bytes()].concat()
        };
        [&VERSION[..], &entries.iter().flat_map(entry).collect::<Vec<u8>>()].concat()
    }

    #[test]
    fn only_lists_of_permission_bits_are_permission_bits() {
        let plain = acl(&[(1, 6), (4, 5), (0x20, 1)]);
        assert_eq!(permissions(&plain), Some(0o651));
        let (named, mask) = ((2, 4), (0x10, 7));
        for other in [
            acl(&[]),
            acl(&[(1, 6), (4, 4)]),
            acl(&[(4, 4), (1, 6), (0x20, 4)]),
            acl(&[(1, 8), (4, 4), (0x20, 4)]),
            acl(&[(1, 6), (4, 4), mask, (0x20, 4)]),
            acl(&[(1, 6), named, (4, 4), mask, (0x20, 4)]),
            plain[..plain.len() - 1].to_vec(),
            [&plain[..], &[0]].concat(),
            [&[3, 0, 0, 0], &plain[4..]].concat(),
            vec![],
        ] {
            assert_eq!(permissions(&other), None, "{other:?}");
        }
    }
}
