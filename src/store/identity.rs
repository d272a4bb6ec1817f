//! The file `strata.json`: which store this is, and in which format.
//!
//! ```text
//! {"format":9,"id":"<32 hexadecimal digits>","lost":[2],"check":"<16 hexadecimal digits>"}
//! ```
//! `lost` names the packs that `strata fsck` found missing and went on without; it is left out where there
//! are none. A store of format 1 has no compressed packs; one of format 2 has no tags, one of format 3 no
//! annotations, and everything that was ever stored, one of format 4 no quotas, one of format 5 no imports
//! under way that have annotations, one of format 6 none of which something was given up, one of format 7 no
//! files of several packs, one of format 8 no imports under way that have pins. The first of each makes it one
//! of the format that has it. `check` is the start of the BLAKE3 of the others as text. A store of an earlier
//! release has none.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{Error, Result};
use super::layout::{Layout, sync_dir};
use super::plain;

/// The format of stores written by this release, and the newest it reads.
pub const FORMAT: u32 = 9;
/// The first format that has compressed packs.
pub const COMPRESSED: u32 = 2;
/// The first format that has tags.
pub const TAGS: u32 = 3;
/// The first format that has annotations.
pub const ANNOTATIONS: u32 = 4;
/// The first format that has pins, prunes and reclaimed content.
pub const RETENTION: u32 = 4;
/// The first format that has quotas.
pub const QUOTAS: u32 = 5;
/// The first format whose imports under way may have annotations.
pub const ANNOTATED_IMPORTS: u32 = 6;
/// The first format whose imports under way may tell what was given up.
pub const GIVEN_UP_IMPORTS: u32 = 7;
/// The first format that has files of several packs.
pub const JOINED: u32 = 8;
/// The first format whose imports under way may have pins.
pub const PINNED_IMPORTS: u32 = 9;
/// Most bytes of the file.
const SIZE_MAX: u64 = 1 << 20;

/// A store's identity: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreId(pub [u8; 16]);

impl StoreId {
    /// A new one.
    pub(super) fn random() -> Result<StoreId> {
        let path = Path::new("/dev/urandom");
        let mut id = [0; 16];
        let read = File::open(path).and_then(|mut f| f.read_exact(&mut id));
        read.map_err(|e| Error::io("read", path, e))?;
        Ok(StoreId(id))
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreId({self})")
    }
}

impl From<StoreId> for String {
    fn from(id: StoreId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for StoreId {
    type Error = String;
    fn try_from(s: String) -> Result<StoreId, String> {
        let digits = s.len() == 32 && s.bytes().all(|b| b.is_ascii_hexdigit());
        let value = u128::from_str_radix(&s, 16).ok().filter(|_| digits);
        value.map(|v| StoreId(v.to_be_bytes())).ok_or_else(|| format!("'{s}' is not a store id"))
    }
}

/// What `strata.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The store's format.
    format: u32,
    /// The store's identity.
    pub id: StoreId,
    /// Numbers of packs known to be lost, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<u32>,
    #[serde(default)]
    check: Option<String>,
}

impl Identity {
    /// Of a store in this release's format.
    pub fn new(id: StoreId, lost: Vec<u32>) -> Identity {
        let mut identity = Identity { format: FORMAT, id, lost, check: None };
        identity.check = Some(identity.checksum());
        identity
    }

    /// Has the store be of `format` at least: releases that know none of what is to be in it open it no more.
    pub fn require(format: u32, layout: &Layout) -> Result<()> {
        /// Who requires less at the same time must not undo it.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock();
        let identity = Identity::read(layout)?;
        if identity.format >= format {
            return Ok(());
        }
        let mut identity = Identity { format, ..identity };
        identity.check = Some(identity.checksum());
        identity.write(layout)
    }

    fn checksum(&self) -> String {
        let text = format!("stratafs {} {} {:?}", self.format, self.id, self.lost);
        blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where there is no store, [`Error::NewerFormat`] where it is too new,
    /// [`Error::Damaged`] where `strata fsck` is to look at it.
    pub fn read(layout: &Layout) -> Result<Identity> {
        Identity::read_or_tell(layout).map_err(|(error, _)| error)
    }

    /// As [`Identity::read`]; with the error, whether a newer format is only what damage made of this one.
    pub(super) fn read_or_tell(layout: &Layout) -> Result<Identity, (Error, bool)> {
        let path = layout.identity();
        let damaged = |what: String| Error::Damaged {
            what: format!("{}: {what}", path.display()),
            advice: "`strata fsck` restores it from the packs",
        };
        let text = match plain::read(&path, SIZE_MAX) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound && layout.has_packs() => {
                return Err((damaged("it is missing".into()), false));
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err((Error::NotAStore(layout.root().to_owned()), false));
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err((damaged(e.to_string()), false)),
            Err(e) => return Err((Error::io("read", &path, e), false)),
        };
        let value: Value = serde_json::from_slice(&text).map_err(|e| (damaged(e.to_string()), false))?;
        // A newer format may have other fields, but it has these.
        let format = value.get("format").and_then(Value::as_u64).unwrap_or(0);
        let identity: Result<Identity, _> = serde_json::from_value(value);
        let is_whole = identity.as_ref().is_ok_and(|i| i.check.as_ref().is_none_or(|c| *c == i.checksum()));
        match (identity, format) {
            (identity, found) if found > u64::from(FORMAT) => {
                let found = u32::try_from(found).unwrap_or(u32::MAX);
                let error = Error::NewerFormat { path: layout.root().to_owned(), found, supported: FORMAT };
                Err((error, identity.is_ok() && !is_whole))
            }
            (Ok(_), _) if !is_whole => Err((damaged("its check does not match what it says".into()), false)),
            (Err(e), _) => Err((damaged(e.to_string()), false)),
            (Ok(_), 0) => Err((damaged("no store has format 0".into()), false)),
            (Ok(identity), _) => Ok(identity),
        }
    }

    /// Writes the file, durably, at once or not at all.
    pub fn write(&self, layout: &Layout) -> Result<()> {
        let path = layout.identity();
        let write = || {
            // What a whole store has beside it is durable first.
            sync_dir(layout.root())?;
            plain::replace(&path, format!("{}\n", serde_json::to_string(self)?).as_bytes())
        };
        write().map_err(|e| Error::io("write", &path, e))
    }
}
