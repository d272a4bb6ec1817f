//! The note of what the last complete collection found, so that the next need not find it again.
//!
//! It says of the objects in the packs before a certain one which may be garbage; every other is needed by a
//! version that was kept then. It is no part of the truth: what is forgotten is looked for in all that is needed
//! whatever a note says, and without one, all is looked at. It is removed before anything is forgotten and
//! written when all is done, since bytes that a collection that was cut off left behind are found by one only that
//! looks at all.
//!
//! A [`note`]: the first pack that was not looked at, pack and offset of the header of each object that may be
//! garbage, and what the last look for what is needed cost.

use serde::{Deserialize, Serialize};

use crate::store::error::Result;
use crate::store::identity::StoreId;
use crate::store::layout::Layout;
use crate::store::note;

/// Objects that may be garbage and are told of by the note: with more, there is none.
pub const OPEN_MAX: usize = 1 << 20;

/// What a collection found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// The first pack it did not look at.
    pub before: u32,
    /// Objects in earlier ones that may be garbage: pack and offset of the header, ascending.
    pub open: Vec<(u32, u32)>,
    /// Values of inodes that were gone through when it was last found out what is needed.
    pub values: u64,
}

impl Looked {
    /// Reads the note; `None` where there is none that makes sense.
    pub fn read(layout: &Layout, store: StoreId) -> Result<Option<Looked>> {
        note::read(&layout.collected(), store)
    }

    /// Writes the note, at once or not at all.
    pub fn write(&self, layout: &Layout, store: StoreId) -> Result<()> {
        note::write(&layout.collected(), store, self)
    }

    /// Removes the note, durably.
    pub fn remove(layout: &Layout) -> Result<()> {
        note::remove(&layout.collected())
    }
}
