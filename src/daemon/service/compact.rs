//! Compressing a store on request.

use crate::store::Effort;

use super::super::failure::Failure;
use super::super::protocol::{Compacted, Item};
use super::report::reporting;
use super::{Service, Sink};

impl Service {
    /// Compresses what can be compressed, and reports.
    pub(super) fn compact(&self, best: bool, sink: &mut dyn Sink) -> Result<(), Failure> {
        let effort = if best { Effort::Best } else { Effort::Usual };
        let compacted = reporting(sink, |step| self.repo.store().compact(effort, step))?;
        let crate::store::Compacted { packs, compressed, before, after } = compacted;
        sink.item(Item::Compacted(Compacted { packs, compressed, before, after }))
    }
}
