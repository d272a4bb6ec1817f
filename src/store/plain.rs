//! Opening what is in a store's directory, which somebody else may have made.
//!
//! Nothing is reached through a symbolic link, lest opening a given store writes elsewhere; and only
//! regular files are opened, lest a pipe or device makes the opening hang or do something.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::layout::{private_file, sync_dir};

/// Opens a regular file with these options.
///
/// # Errors
/// Also where it is something else, which the error says.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // Opening a pipe would wait for its other end.
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).map_err(explain)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn explain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other(LINK),
        _ => error,
    }
}

const LINK: &str = "it is a symbolic link, and all of a store must be in its own directory";

/// Reads a small file whole.
///
/// # Errors
/// As [`open`]; also where it has more than `max` bytes.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, OpenOptions::new().read(true))?.take(max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= max {
        true => Ok(bytes),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has over {max} bytes"))),
    }
}

/// Writes a small file, durably, at once or not at all.
///
/// # Errors
/// Where it cannot be written, synced or renamed.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temp = path.as_os_str().to_owned();
    temp.push(".new");
    let temp = Path::new(&temp);
    // One left behind by a process that died; or else it is not ours to write through.
    match fs::remove_file(temp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = private_file().create_new(true).open(temp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temp, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Whether there is a directory at `path`; `false` where there is nothing.
///
/// # Errors
/// Where there is something else, a symbolic link to a directory included.
pub fn is_dir(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(true),
        Ok(meta) if meta.is_symlink() => Err(io::Error::other(LINK)),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether all below a directory are directories and regular files.
///
/// # Errors
/// Where it cannot be listed.
pub fn is_plain_tree(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if !(kind.is_file() || kind.is_dir() && is_plain_tree(&entry.path())?) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_pipes_and_long_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), b"12345").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(dir.path(), at("dir link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(read(&at("file"), 5).unwrap(), b"12345");
        assert!(read(&at("file"), 4).unwrap_err().to_string().contains("over 4 bytes"));
        for create in [false, true] {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(create);
            assert!(open(&at("link"), &mut options).unwrap_err().to_string().contains("symbolic link"));
            assert!(open(&at("pipe"), &mut options).unwrap_err().to_string().contains("regular"));
        }
        assert!(open(dir.path(), OpenOptions::new().read(true)).is_err());
        assert!(is_dir(dir.path()).unwrap() && !is_dir(&at("none")).unwrap());
        assert!(is_dir(&at("dir link")).unwrap_err().to_string().contains("symbolic link"));
        assert!(is_dir(&at("file")).is_err());
        assert!(!is_plain_tree(dir.path()).unwrap());
    }
}
