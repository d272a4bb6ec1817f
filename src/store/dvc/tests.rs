//! What is told is found, checked, and mended.

use super::*;

fn told(dir: &Path) -> Told {
    Told::new(&dir.join("dvc/1"), dir.to_owned())
}

fn at(version: u64, ino: u64) -> Recorded {
    Recorded { version: VersionNo(version), ino: Ino(ino) }
}

#[test]
fn what_was_told_is_found_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let told = told(dir.path());
    assert_eq!((told.file(&[1; 16]).unwrap(), told.files_below(1).unwrap()), (None, vec![]));
    told.tell(&[([2; 16], at(1, 7)), ([1; 16], at(1, 8)), ([1; 16], at(1, 9))], None).unwrap();
    told.tell(&[([3; 16], at(2, 7)), ([2; 16], at(1, 7))], None).unwrap();
    assert_eq!(told.file(&[2; 16]).unwrap(), Some(at(1, 7)));
    assert_eq!(told.file(&[3; 16]).unwrap(), Some(at(2, 7)));
    assert_eq!(told.file(&[4; 16]).unwrap(), None);
    assert_eq!(told.files_below(1).unwrap(), [[1; 16]], "each once");
    let known = told.known().unwrap();
    assert_eq!((known.md5(at(1, 9)), known.md5(at(2, 7))), (Some([1; 16]), Some([3; 16])));
    assert_eq!(known.md5(at(3, 7)), None);
}

#[test]
fn damage_is_never_believed_and_mended_by_telling_again() {
    let dir = tempfile::tempdir().unwrap();
    let told = told(dir.path());
    let files: Vec<(Md5, Recorded)> = (0..100).map(|n| ([n; 16], at(1, u64::from(n)))).collect();
    told.tell(&files, None).unwrap();
    let path = dir.path().join("dvc/1/md5-1");
    let mut bytes = fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(40).map(|start| start + 20) {
        bytes[at] ^= 1;
    }
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(told.file(&[5; 16]), Err(Error::Corrupt(_))));
    told.tell(&files, None).unwrap();
    assert!(files.iter().all(|(md5, at)| told.file(md5).unwrap() == Some(*at)));
    fs::write(&path, &bytes[..101]).unwrap();
    told.tell(&files[..1], None).unwrap();
    assert_eq!(told.file(&files[0].0).unwrap(), Some(files[0].1));
}

#[test]
fn lists_are_checked_when_they_are_opened() {
    let dir = tempfile::tempdir().unwrap();
    let told = told(dir.path());
    let mut list = told.new_list().unwrap();
    list.write(b"[]").unwrap();
    let md5 = list.finish().unwrap();
    assert_eq!(hex(&md5), "d751713988987e9331980363e24189ce", "as md5sum has it");
    told.tell(&[], Some(list)).unwrap();
    assert_eq!(told.lists().unwrap(), [md5]);
    let mut bytes = [0; 9];
    assert_eq!(told.list(&md5).unwrap().unwrap().read_at(0, &mut bytes).unwrap(), 2);
    assert_eq!(&bytes[..2], b"[]");
    assert!(told.list(&[0; 16]).unwrap().is_none());
    fs::write(dir.path().join(format!("dvc/1/{}.dir", hex(&md5))), "[ ]").unwrap();
    assert!(matches!(told.list(&md5), Err(Error::Corrupt(_))));
}

#[test]
fn nothing_is_reached_through_links() {
    let dir = tempfile::tempdir().unwrap();
    let told = told(dir.path());
    told.tell(&[([1; 16], at(1, 8))], None).unwrap();
    let aside = dir.path().join("aside");
    fs::rename(dir.path().join("dvc/1"), &aside).unwrap();
    std::os::unix::fs::symlink(&aside, dir.path().join("dvc/1")).unwrap();
    assert!(told.file(&[1; 16]).is_err() && told.lists().is_err() && told.list(&[1; 16]).is_err());
    assert!(told.tell(&[([2; 16], at(1, 9))], None).is_err());
    assert_eq!(fs::read_dir(&aside).unwrap().count(), 2, "nothing was written there");
}

#[test]
fn md5s_have_one_spelling() {
    let text = "d751713988987e9331980363e24189ce";
    assert_eq!(parse_md5(text).map(|md5| hex(&md5)).as_deref(), Some(text));
    for wrong in ["", "d7", &text.to_uppercase(), &format!("+{}", &text[1..]), &format!("{text}0")] {
        assert_eq!(parse_md5(wrong), None, "{wrong}");
    }
}
