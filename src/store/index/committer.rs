//! The threads that follow the log: one makes it durable within half a second, the other applies to
//! sled what the index holds in memory. Without either nothing may be written any more: should one panic, the
//! log is read-only from then on.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::Index;
use crate::store::pack::Log;

/// How long an append may wait for its sync to begin.
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// How often the index follows, where it has not enough to follow before. The more it takes up at once, the fewer
/// pages of sled are written for each version.
const APPLY_EVERY: Duration = Duration::from_secs(5);

/// The running threads; [`Followers::stop`] or a drop ends them.
pub struct Followers {
    log: Arc<Log>,
    index: Arc<Index>,
    threads: Vec<JoinHandle<()>>,
}

impl Followers {
    /// Starts both.
    pub fn start(log: &Arc<Log>, index: &Arc<Index>) -> io::Result<Followers> {
        let mut followers = Followers { log: log.clone(), index: index.clone(), threads: Vec::new() };
        followers.spawn("strata-sync", |log, _| sync_loop(log))?;
        followers.spawn("strata-index", apply_loop)?;
        Ok(followers)
    }

    fn spawn(&mut self, name: &'static str, follow: fn(&Log, &Index)) -> io::Result<()> {
        let (log, index) = (self.log.clone(), self.index.clone());
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| follow(&log, &index))).is_err() {
                log.fail(&format!("the thread {name} panicked"));
                index.give_up();
            }
        };
        self.threads.push(Builder::new().name(name.into()).spawn(run)?);
        Ok(())
    }

    /// Ends both and waits for them.
    pub fn stop(&mut self) {
        self.log.bell().stop();
        self.index.bell().stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the store panicked");
            }
        }
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn sync_loop(log: &Log) {
    while log.bell().wait(SYNC_EVERY) {
        // A failure has been logged, and from then on there is nothing to sync.
        if log.unsynced() > 0 && log.sync().is_err() {
            return;
        }
    }
}

fn apply_loop(log: &Log, index: &Index) {
    let mut failures = 0;
    let mut rest = APPLY_EVERY;
    while index.bell().wait(rest) {
        rest = APPLY_EVERY;
        match index.apply(|| log.sync()) {
            Ok(()) => failures = 0,
            // Said by the log already; what is not durable must not be indexed.
            Err(_) if log.read_only().is_some() => return,
            Err(e) => {
                failures += 1u32;
                rest = APPLY_EVERY * failures.min(10);
                // Not over and over for as long as a disk is full.
                if failures.is_power_of_two() {
                    log::error!("{e}; nothing is lost, trying again in {} s", rest.as_secs());
                }
            }
        }
    }
}
