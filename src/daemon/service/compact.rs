//! Compressing a store on request.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::store::Effort;

use super::super::failure::Failure;
use super::super::protocol::{Compacted, Item};
use super::verify::REPORT_EVERY;
use super::{Service, Sink};

impl Service {
    /// Compresses what can be compressed, and reports.
    pub(super) fn compact(&self, best: bool, sink: &mut dyn Sink) -> Result<(), Failure> {
        let effort = if best { Effort::Best } else { Effort::Usual };
        let (mut reported, mut gone) = (Instant::now(), None);
        let compacted = self.repo.store().compact(effort, &mut |done, total| {
            if reported.elapsed() < REPORT_EVERY {
                return ControlFlow::Continue(());
            }
            reported = Instant::now();
            match sink.item(Item::Progress { done, total }) {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    gone = Some(failure);
                    ControlFlow::Break(())
                }
            }
        })?;
        gone.map_or(Ok(()), Err)?;
        let crate::store::Compacted { packs, compressed, before, after } = compacted;
        sink.item(Item::Compacted(Compacted { packs, compressed, before, after }))
    }
}
