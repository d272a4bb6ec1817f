//! Telling whoever waits how far something is.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::super::failure::Failure;
use super::super::protocol::Item;
use super::Sink;

/// Time between two reports of progress.
const EVERY: Duration = Duration::from_millis(500);

/// Says when a report is due.
pub(super) struct Pace(Instant);

impl Pace {
    /// One by which the first is due after a while.
    pub fn new() -> Pace {
        Pace(Instant::now())
    }

    /// Whether one is due; if so, the next is after a while.
    pub fn is_due(&mut self) -> bool {
        let is_due = self.0.elapsed() >= EVERY;
        if is_due {
            self.0 = Instant::now();
        }
        is_due
    }
}

/// Does something that tells how much of how much is done, and that is broken off where nobody takes that any more.
///
/// # Errors
/// What the work gives, or that nobody takes the reports.
pub(super) fn reporting<T, E>(
    sink: &mut dyn Sink,
    work: impl FnOnce(&mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> Result<T, E>,
) -> Result<T, Failure>
where
    Failure: From<E>,
{
    let (mut pace, mut gone) = (Pace::new(), None);
    let done = work(&mut |done, total| {
        if !pace.is_due() {
            return ControlFlow::Continue(());
        }
        match sink.item(Item::Progress { done, total }) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                gone = Some(failure);
                ControlFlow::Break(())
            }
        }
    })?;
    gone.map_or(Ok(done), Err)
}
