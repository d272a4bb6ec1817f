//! Pointers: small files, to be kept in git beside code, that say which content is meant.
//!
//! A pointer is a JSON object, one field a line, in a fixed order, so that a change of the data is a change
//! of few lines. The snapshot id is what it says; the dataset, version and store are where that was found
//! when it was written. Content, size and number of files are checked.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, Pointed, Repo};
use crate::model::hash::hex;
use crate::model::{ContentId, DatasetName, Kind, Name, TreeHash, VersionNo, VersionSpec, show_path};

use super::failure::Failure;
use super::object::{parse_path, path_bytes};

/// The format of pointers that this release writes, and the newest it reads.
const FORMAT: u64 = 1;
/// Longest pointer, in bytes: a path of 4096 bytes takes a fraction of it, however it is written.
const SIZE_MAX: u64 = 1 << 20;
/// How the name of a pointer's file ends.
pub const EXTENSION: &str = ".strata";

/// What a pointer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct Pointer {
    /// The dataset it was written for.
    pub dataset: DatasetName,
    /// The version it was written for.
    pub version: VersionNo,
    /// The snapshot id of the version.
    pub snapshot: TreeHash,
    /// What is meant of the version; all of it where this is empty.
    pub path: Vec<Name>,
    /// Whether that is a directory, or else a file.
    pub is_dir: bool,
    /// What `strata hash` prints of it.
    pub content: String,
    /// Bytes of the files in it.
    pub size: u64,
    /// How many files those are.
    pub files: u64,
    /// The store it was written from.
    pub store: String,
}

/// A pointer as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    strata: u64,
    dataset: String,
    version: String,
    snapshot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The path in hexadecimal, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    kind: String,
    content: String,
    size: u64,
    files: u64,
    store: String,
}

impl From<Pointer> for Text {
    fn from(pointer: Pointer) -> Text {
        let path = path_bytes(&pointer.path);
        let lossy = std::str::from_utf8(&path).is_err();
        Text {
            strata: FORMAT,
            dataset: pointer.dataset.as_str().into(),
            version: pointer.version.to_string(),
            snapshot: pointer.snapshot.to_hex(),
            path: (!path.is_empty()).then(|| String::from_utf8_lossy(&path).into_owned()),
            path_bytes: lossy.then(|| hex(&path)),
            kind: if pointer.is_dir { "directory" } else { "file" }.into(),
            content: pointer.content,
            size: pointer.size,
            files: pointer.files,
            store: pointer.store,
        }
    }
}

impl TryFrom<Text> for Pointer {
    type Error = String;
    fn try_from(text: Text) -> Result<Pointer, String> {
        let version = match VersionSpec::parse(&text.version) {
            Some(VersionSpec::Number { number, back: 0 }) => number,
            _ => return Err(format!("'{}' is no version such as v3", text.version)),
        };
        let path = match (&text.path_bytes, &text.path) {
            (Some(hex), Some(_)) => bytes_of(hex).ok_or_else(|| format!("'{hex}' is not hexadecimal"))?,
            (Some(_), None) => return Err("path_bytes without path".into()),
            (None, path) => path.clone().unwrap_or_default().into_bytes(),
        };
        let is_dir = match text.kind.as_str() {
            "directory" => true,
            "file" => false,
            other => return Err(format!("'{other}' is neither directory nor file")),
        };
        let snapshot: TreeHash = text.snapshot.parse().map_err(|_| no_hash("snapshot", &text.snapshot))?;
        let content: ContentId = text.content.parse().map_err(|_| no_hash("content", &text.content))?;
        Ok(Pointer {
            dataset: DatasetName::new(text.dataset.as_bytes()).map_err(|e| e.to_string())?,
            version,
            snapshot,
            path: parse_path(OsStr::from_bytes(&path))?,
            is_dir,
            content: content.to_hex(),
            size: text.size,
            files: text.files,
            store: text.store,
        })
    }
}

fn no_hash(field: &str, text: &str) -> String {
    format!("{field} is no hash of 64 digits: '{text}'")
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|p| p.len() == 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

impl Pointer {
    /// The file's text.
    ///
    /// # Errors
    /// Never, as a pointer can be written.
    pub fn to_text(&self) -> Result<String, Failure> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|e| Failure::because("cannot write a pointer", &e))
    }

    /// Reads a pointer's text.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Pointer, String> {
        let value: serde_json::Value = serde_json::from_slice(text).map_err(|e| {
            match text.windows(7).any(|part| part == b"<<<<<<<") {
                true => "it has both sides of a conflict of git: keep one of them".into(),
                false => e.to_string(),
            }
        })?;
        match value.get("strata").and_then(serde_json::Value::as_u64) {
            Some(FORMAT) => {}
            Some(format) if format > FORMAT => {
                return Err(format!("it has format {format}, this release reads up to {FORMAT}"));
            }
            _ => return Err("it has no field \"strata\" with the number of a format".into()),
        }
        // From the text, so that a field that is there twice is an error.
        serde_json::from_slice(text).map_err(|e| e.to_string())
    }

    /// Reads a pointer's file.
    ///
    /// # Errors
    /// Where it cannot be read, or is no pointer.
    pub fn read(path: &Path) -> Result<Pointer, Failure> {
        let mut text = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(SIZE_MAX + 1).read_to_end(&mut text));
        read.map_err(|e| Failure::because(format!("cannot read the pointer {}", path.display()), &e))?;
        let parsed = match text.len() as u64 > SIZE_MAX {
            true => Err(format!("it is longer than {SIZE_MAX} bytes")),
            false => Pointer::parse(&text),
        };
        let dvc = path.extension().is_some_and(|extension| extension == "dvc");
        parsed.map_err(|why| {
            let failure = Failure::new(format!("{} is no pointer: {why}", path.display()));
            match dvc {
                true => failure.hint("it may be one of DVC: dvc pull"),
                false => failure.hint("`strata pointer DATASET@VERSION` writes one"),
            }
        })
    }

    /// Finds what it points to, in whatever dataset has it.
    ///
    /// # Errors
    /// Says what is missing, or differs from what the pointer says.
    pub fn find(&self, repo: &Repo) -> Result<(Arc<Dataset>, Pointed), Failure> {
        let (name, version) = (self.dataset.as_str(), self.version);
        let Some((dataset, found)) = repo.find_snapshot(name, version, self.snapshot)? else {
            return Err(self.missing(repo)?);
        };
        let at = format!("{}@{found}", dataset.name());
        let shown = if self.path.is_empty() { at.clone() } else { format!("{at}/{}", show_path(&self.path)) };
        let wrong = |what: String| {
            Failure::new(format!("the pointer contradicts itself: {what}"))
                .hint("it was changed by hand, or damaged: take it from git, or write it anew")
        };
        let pointed = Pointed::find(dataset.frozen(found), &self.path)?;
        let pointed = pointed.ok_or_else(|| wrong(format!("{at} has its snapshot, but not {shown}")))?;
        if (pointed.kind == Kind::Dir) != self.is_dir || pointed.content()?.as_ref() != Some(&self.content) {
            return Err(wrong(format!("{at} has its snapshot, but {shown} is not the content it names")));
        }
        Ok((dataset, pointed))
    }

    /// That no dataset has it, and where it was, or is out of sight.
    fn missing(&self, repo: &Repo) -> Result<Failure, Failure> {
        let (store, path) = (repo.store(), repo.store().path().display());
        if let Some(dataset) = repo.get(self.dataset.as_str())
            && dataset.is_pruned(self.version)
            && dataset.snapshot(self.version).is_ok_and(|snapshot| snapshot == self.snapshot)
        {
            dataset.check_kept(self.version)?;
        }
        let wanted = format!("with snapshot {}, which was {}@{}", self.snapshot, self.dataset, self.version);
        if let Some(archived) = repo.archived_with(self.snapshot)? {
            return Ok(Failure::new(format!(
                "the version {wanted} is one of dataset {archived} of {path}, which was removed"
            ))
            .hint(format!("a directory of its name brings it back: mkdir MOUNTPOINT/{archived}")));
        }
        let which = if self.store == store.id().to_string() { "this store" } else { "another store" };
        Ok(Failure::new(format!("the store in {path} has no version {wanted} in {which} ({})", self.store))
            .hint(
                "--store DIR names another store; `strata import` of the same files makes the same snapshot",
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(path: &[u8]) -> Pointer {
        Pointer {
            dataset: DatasetName::new(b"pets").unwrap(),
            version: VersionNo(82),
            snapshot: TreeHash([0xab; 32]),
            path: parse_path(OsStr::from_bytes(path)).unwrap(),
            is_dir: false,
            content: "cd".repeat(32),
            size: 5,
            files: 1,
            store: "1b92".into(),
        }
    }

    #[test]
    fn pointers_are_read_as_they_were_written() {
        for path in [&b""[..], b"a", b"a b/\n\"", "ä/🐱".as_bytes(), b"a\xff/\xfe", &[b'x'; 255]] {
            let pointer = pointer(path);
            assert_eq!(Pointer::parse(pointer.to_text().unwrap().as_bytes()), Ok(pointer));
        }
    }

    #[test]
    fn the_form_is_stable() {
        let text = format!(
            "{{\n  \"strata\": 1,\n  \"dataset\": \"pets\",\n  \"version\": \"v82\",\n  \"snapshot\": \"{}\",\n  \
             \"path\": \"a\",\n  \"kind\": \"file\",\n  \"content\": \"{}\",\n  \"size\": 5,\n  \"files\": 1,\n  \
             \"store\": \"1b92\"\n}}\n",
            "ab".repeat(32),
            "cd".repeat(32)
        );
        assert_eq!(pointer(b"a").to_text().unwrap(), text);
    }

    #[test]
    fn what_is_no_pointer_says_why() {
        let good = pointer(b"a").to_text().unwrap();
        for (from, to, wanted) in [
            ("\"strata\": 1", "\"strata\": 2", "format 2"),
            ("\"strata\": 1", "\"strata\": \"x\"", "no field"),
            ("\"v82\"", "\"latest\"", "'latest'"),
            ("\"v82\"", "\"v82~1\"", "'v82~1'"),
            ("\"path\": \"a\"", "\"path\": \"../a\"", "name"),
            ("\"path\": \"a\"", "\"path\": \"a\",\n  \"path\": \"b\"", "duplicate"),
            ("\"path\": \"a\"", "\"path_bytes\": \"61\"", "without path"),
            ("\"file\"", "\"symlink\"", "'symlink'"),
            ("abab", "ab", "snapshot"),
            ("\"size\": 5", "\"size\": -5", "invalid"),
            ("\"size\": 5,", "", "missing field"),
            ("\"size\"", "\"sise\"", "sise"),
            ("  \"dataset\": \"pets\"", "<<<<<<< HEAD\n", "conflict"),
            ("\"pets\"", "\"a/b\"", "a/b"),
        ] {
            let error = Pointer::parse(good.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(error.contains(wanted), "{to}: {error}");
        }
        for text in [&b""[..], b"[]", b"\xff", b"{", b"null"] {
            assert!(Pointer::parse(text).is_err());
        }
    }
}
