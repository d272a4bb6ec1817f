use super::write_tar::TarWriter;
use super::*;
use crate::model::Kind;

fn member(path: &[u8], what: What) -> Member {
    let (mode, owner, mtime) = (0o4751, Some((1000, 4_000_000_000)), Timestamp(1_700_000_000_123_456_700));
    Member { path: path.to_vec(), what, mode, owner, mtime, xattrs: Vec::new(), has_acl: false }
}

/// The bytes of an archive of these members, of files without their data.
fn headers(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = |part: &[u8]| {
        bytes.extend(part);
        Ok(())
    };
    let mut tar = TarWriter::new(&mut out);
    tar.comment("of the whole").unwrap();
    members.iter().for_each(|member| tar.begin(member).unwrap());
    tar.finish().unwrap();
    bytes
}

#[test]
fn members_read_as_they_were_written() {
    let long = [&b"dir/"[..], &[b'n'; 255], b"/\xff\n"].concat();
    let time = |nanos| Member { mtime: Timestamp(nanos), ..member(b"t", What::Symlink(b"x".to_vec())) };
    let members = [
        member(b"empty", What::File { size: 0, data: vec![(0, 0)] }),
        member(b"dir", What::Dir),
        member(&long, What::Symlink(long.clone())),
        member(b"link", What::Link(long.clone())),
        member(b"pipe", What::Special(Kind::Fifo, 0)),
        member(b"device", What::Special(Kind::CharDevice, 0x0010_0507)),
        member(b"disk", What::Special(Kind::BlockDevice, 0xfff0_08ff)),
        Member {
            xattrs: vec![(b"user.a=b%3D%25%".to_vec(), vec![0; 70_000])],
            ..member(b"marked", What::Dir)
        },
        time(-1),
        time(-1_500_000_000),
        time(i64::MAX),
        time(0),
    ];
    let bytes = headers(&members);
    let mut reader = TarReader::new(&bytes[..]);
    for wanted in &members {
        let mut found = reader.next_member().unwrap().unwrap();
        if wanted.what == What::Dir {
            assert_eq!(found.path.pop(), Some(b'/'));
        }
        assert_eq!(&found, wanted);
    }
    assert_eq!(reader.next_member().unwrap(), None);
    assert_eq!(reader.comment(), Some(&b"of the whole"[..]));
}

#[test]
fn sizes_beyond_a_header_are_told() {
    for (size, data) in [
        (9 << 30, vec![(0, 9 << 30)]),
        (1 << 50, vec![(0, 9 << 30), (1 << 40, 5)]),
        (1 << 50, vec![((1 << 50) - 7, 7)]),
        (1 << 20, vec![]),
    ] {
        let wanted = member(b"large", What::File { size, data: data.clone() });
        let found =
            TarReader::new(&headers(std::slice::from_ref(&wanted))[..]).next_member().unwrap().unwrap();
        let What::File { size: found_size, data: found_data } = &found.what else { panic!("{found:?}") };
        let found_data: Vec<_> = found_data.iter().copied().filter(|(_, len)| *len > 0).collect();
        assert_eq!((*found_size, found_data, &found.path), (size, data, &wanted.path));
    }
}
