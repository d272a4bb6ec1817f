//! What is compared: a version of a dataset, or an ordinary directory.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};

use crate::daemon::object::{VersionText, path_bytes};
use crate::daemon::protocol::EntryInfo;
use crate::daemon::{Client, Failure, Item, ObjectSpec, Request, Sink};
use crate::model::{Name, word};

/// One of the two that are compared, as it is written.
#[derive(Clone, Debug)]
pub enum Side {
    /// `DATASET[@VERSION][/PATH]`
    Object(ObjectSpec),
    /// A directory or file outside: what begins with `/`, `./` or `../`, or is `.` or `..`.
    Outside(PathBuf),
}

/// Reads a side.
pub fn parser() -> ValueParser {
    OsStringValueParser::new().try_map(|text: OsString| parse(&text)).into()
}

fn parse(text: &OsStr) -> Result<Side, String> {
    let bytes = text.as_bytes();
    let is_outside = bytes == b"."
        || bytes == b".."
        || [&b"/"[..], b"./", b"../"].iter().any(|prefix| bytes.starts_with(prefix));
    match ObjectSpec::parse(text) {
        _ if is_outside => Ok(Side::Outside(text.into())),
        Ok(object) => Ok(Side::Object(object)),
        Err(error) => Err(format!("{error}; a directory outside begins with / or ./")),
    }
}

impl Side {
    /// The same with the version that is meant by number, and the path added. Gives what it is there, if there
    /// is something and this is no outside.
    pub fn pinned(self, client: &mut Client, path: &[Name]) -> Result<(Side, Option<EntryInfo>), Failure> {
        match self {
            Side::Outside(mut dir) => {
                if !path.is_empty() {
                    dir.push(OsString::from_vec(path_bytes(path)));
                }
                Ok((Side::Outside(dir), None))
            }
            Side::Object(mut object) => {
                object.path.extend_from_slice(path);
                let mut resolved = Resolved::default();
                let asked = client.run(Request::Resolve(object.clone()), &mut resolved);
                asked.map_err(|failure| perhaps_outside(failure, &object))?;
                let version = resolved.version.ok_or_else(|| {
                    // Without its number it would be the live tree that is read.
                    let name = &object.dataset;
                    Failure::new(format!("{name} has no version yet"))
                        .hint(format!("`strata commit {name}` makes one of what is in it"))
                })?;
                object.version = Some(VersionText::parse(&version).map_err(Failure::new)?);
                Ok((Side::Object(object), resolved.entry))
            }
        }
    }

    /// The name of the file or directory itself.
    pub fn file_name(&self) -> &[u8] {
        match self {
            Side::Outside(dir) => dir.file_name().unwrap_or(dir.as_os_str()).as_bytes(),
            Side::Object(object) => {
                object.path.last().map_or(object.dataset.as_str().as_bytes(), Name::as_bytes)
            }
        }
    }

    /// The name of what is at a path of it.
    pub fn name(&self, path: &[u8]) -> String {
        let (start, end) = match self {
            Side::Outside(dir) => (dir.display().to_string(), String::new()),
            Side::Object(object) => {
                let version = object.version.as_ref().map_or(String::new(), |v| format!("@{}", v.as_str()));
                let path = path_bytes(&object.path);
                (format!("{}{version}", object.dataset), String::from_utf8_lossy(&path).into_owned())
            }
        };
        let parts = [start, end, String::from_utf8_lossy(path).into_owned()];
        parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }
}

/// Where there is no such dataset, but a file or directory here, says how that is written.
fn perhaps_outside(failure: Failure, object: &ObjectSpec) -> Failure {
    let here = Path::new(object.dataset.as_str());
    match object.version {
        None if failure.hint.is_none() && here.exists() => {
            failure.hint(format!("what is in this directory is written {}", word(&Path::new(".").join(here))))
        }
        _ => failure,
    }
}

/// What [`Request::Resolve`] answers.
#[derive(Default)]
struct Resolved {
    version: Option<String>,
    entry: Option<EntryInfo>,
}

impl Sink for Resolved {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        match item {
            Item::Resolved(version) => self.version = version,
            Item::Entry(entry) => self.entry = Some(entry),
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_told_from_datasets() {
        let is_outside = |text: &str| matches!(parse(text.as_ref()), Ok(Side::Outside(_)));
        for text in [".", "..", "./d", "../d", "/d", "/d@v1", "./"] {
            assert!(is_outside(text), "{text}");
        }
        for text in ["d", "d@v1", "d/sub", ".d", "..d@v1/./x", "d@v1/../x"] {
            assert!(!is_outside(text), "{text}");
        }
        assert!(parse("~/d".as_ref()).is_ok(), "a dataset may be called so");
        assert!(parse("d@v0".as_ref()).unwrap_err().contains("begins with / or ./"));
    }
}
