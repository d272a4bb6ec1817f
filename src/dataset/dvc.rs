//! A file or directory of a version as DVC describes it: by MD5, a directory by the MD5 of a list of its files.
//!
//! The list is the JSON that DVC itself makes of a directory, to the byte: an array of objects with the fields
//! `md5` and `relpath`, sorted by path, separators `", "` and `": "`, everything but printable ASCII escaped.

use crate::model::hash::hex;
use crate::model::{Dirent, Ino, Kind, Name};
use crate::store::dvc::{Known, Md5, NewList, Recorded};
use crate::store::{Store, md5};

use super::dataset::Dataset;
use super::error::{Error, Result};
use super::pointed::{Extent, Pointed};
use super::repo::Repo;

/// A name that makes DVC refuse the directory it is in.
const IGNORE_FILE: &[u8] = b".dvcignore";

/// What DVC says of a file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The MD5 of a file, or of the list of a directory's files.
    pub md5: Md5,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether it is a file that its owner may execute.
    pub executable: bool,
    /// Files and bytes.
    pub extent: Extent,
    /// Directories without a file anywhere below, which DVC does not know.
    pub empty_dirs: u64,
}

/// A description, and what `@dvc` must be told for DVC to find it there.
#[derive(Debug)]
pub struct Description {
    /// What DVC says.
    pub described: Described,
    files: Vec<(Md5, Recorded)>,
    list: Option<NewList>,
}

impl Description {
    /// Tells `@dvc` of it, durably. One at a time may do so.
    ///
    /// # Errors
    /// Where something cannot be written.
    pub fn tell(self, store: &Store, dataset: &Dataset) -> Result<()> {
        Ok(store.dvc(dataset.id()).tell(&self.files, self.list)?)
    }
}

/// Describes what is pointed to. MD5s that are not known from before are computed. `each` hears of it after
/// every file, and may end it. Held in memory are 32 bytes for each file.
///
/// # Errors
/// [`Error::Unsupported`] or [`Error::Invalid`] where there is something DVC does not know: symbolic links and
/// special files, names that are not UTF-8, `.dvcignore`.
pub fn describe<E: From<Error>>(
    repo: &Repo,
    dataset: &Dataset,
    pointed: &Pointed,
    mut each: impl FnMut(Extent) -> Result<(), E>,
) -> Result<Description, E> {
    let told = repo.store().dvc(dataset.id());
    let known = told.known().map_err(Error::from)?;
    let mut walk = Walk { repo, pointed, known, files: Vec::new(), extent: Extent::default(), empty_dirs: 0 };
    if pointed.kind == Kind::File {
        let (md5, executable) = walk.file(pointed.ino)?;
        let described = Described { md5, is_dir: false, executable, extent: walk.extent, empty_dirs: 0 };
        return Ok(Description { described, files: walk.files, list: None });
    }
    let mut list = told.new_list().map_err(Error::from)?;
    walk.dir(&mut list, &mut each)?;
    let md5 = list.finish().map_err(Error::from)?;
    let Walk { extent, empty_dirs, files, .. } = walk;
    let described = Described { md5, is_dir: true, executable: false, extent, empty_dirs };
    Ok(Description { described, files, list: Some(list) })
}

struct Walk<'a> {
    repo: &'a Repo,
    pointed: &'a Pointed,
    known: Known,
    files: Vec<(Md5, Recorded)>,
    extent: Extent,
    empty_dirs: u64,
}

/// A directory on the way to where the walk is.
struct Level {
    /// Entries to come, the next one last.
    rest: Vec<Dirent>,
    /// Length of its path, with a slash at its end.
    path: usize,
    /// Files listed before it.
    files: u64,
}

impl Walk<'_> {
    fn file(&mut self, ino: Ino) -> Result<(Md5, bool)> {
        let (version, inode) = self.pointed.tree.certain_inode(ino)?;
        let recorded = Recorded { version, ino };
        let content = inode.content().ok_or(Error::Stale)?;
        let md5 = match self.known.md5(recorded) {
            Some(md5) => md5,
            None => md5(self.repo.objects(), content)?,
        };
        self.files.push((md5, recorded));
        self.extent.files += 1;
        self.extent.bytes = self.extent.bytes.saturating_add(content.size());
        Ok((md5, inode.mode & 0o100 != 0))
    }

    /// Writes the list of all files below the directory pointed to, in the order of their paths.
    fn dir<E: From<Error>>(
        &mut self,
        list: &mut NewList,
        each: &mut impl FnMut(Extent) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut write = |text: &str| list.write(text.as_bytes()).map_err(Error::from);
        write("[")?;
        let mut path = String::new();
        let mut levels = vec![self.level(self.pointed.ino, 0)?];
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path);
            let Some(entry) = level.rest.pop() else {
                self.empty_dirs += u64::from(level.files == self.extent.files && levels.len() > 1);
                levels.pop();
                continue;
            };
            path.push_str(&text(&path, &entry.name)?);
            match entry.kind {
                Kind::Dir => {
                    path.push('/');
                    let below = self.level(entry.ino, path.len())?;
                    levels.push(below);
                }
                Kind::File => {
                    if self.extent.files > 0 {
                        write(", ")?;
                    }
                    let (md5, _) = self.file(entry.ino)?;
                    write(&format!("{{\"md5\": \"{}\", \"relpath\": {}}}", hex(&md5), json(&path)))?;
                    each(self.extent)?;
                }
                _ => return Err(unknown_to_dvc(&path, "is neither a file nor a directory").into()),
            }
        }
        write("]")?;
        Ok(())
    }

    fn level(&self, dir: Ino, path: usize) -> Result<Level> {
        let mut rest = self.pointed.tree.all_entries(dir)?;
        // As whole paths sort, where a slash follows the name of a directory.
        let key = |entry: &Dirent| {
            let slash: &[u8] = if entry.kind == Kind::Dir { b"/" } else { b"" };
            [entry.name.as_bytes(), slash].concat()
        };
        rest.sort_by_cached_key(|entry| std::cmp::Reverse(key(entry)));
        Ok(Level { rest, path, files: self.extent.files })
    }
}

/// A name as text.
fn text(above: &str, name: &Name) -> Result<String> {
    if name.as_bytes() == IGNORE_FILE {
        return Err(unknown_to_dvc(&format!("{above}{name}"), "must not be in a directory that DVC tracks"));
    }
    let text = std::str::from_utf8(name.as_bytes()).map(str::to_owned);
    text.map_err(|_| unknown_to_dvc(&format!("{above}{name}"), "has a name that is not UTF-8"))
}

fn unknown_to_dvc(path: &str, why: &str) -> Error {
    Error::Invalid(format!("cannot be told to DVC: {path:?} {why}"))
}

/// Text as JSON of printable ASCII, as Python's `json.dumps` writes it.
fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            other => {
                let mut units = [0; 2];
                other
                    .encode_utf16(&mut units)
                    .iter()
                    .for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_as_python_writes_it() {
        for (text, wanted) in [
            ("a b", r#""a b""#),
            ("\"\\/", r#""\"\\/""#),
            ("\n\r\t\u{8}\u{c}\u{1}\u{7f}", r#""\n\r\t\b\f\u0001\u007f""#),
            ("ä🐱", r#""\u00e4\ud83d\udc31""#),
        ] {
            assert_eq!(json(text), wanted);
        }
    }
}
