//! Batches of chunks that another thread stores, in their order, while the file is written on.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};

use crate::model::Piece;
use crate::store::content::Batch;
use crate::store::error::{Error, Result};
use crate::store::objects::ObjectStore;

/// Batches on their way into the store. The thread ends when it has stored all there are; the next one that is
/// handed over begins another.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Those not taken back yet, in order.
    batches: VecDeque<Arc<Batch>>,
    /// Bytes in them.
    bytes: usize,
    work: Arc<Work>,
}

/// What is shared with the thread.
#[derive(Debug, Default)]
struct Work {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// To be stored.
    waiting: VecDeque<Arc<Batch>>,
    /// What became of those before.
    done: VecDeque<Result<Vec<Piece>>>,
    /// Whether a thread takes what waits.
    running: bool,
}

impl Ahead {
    /// Number of batches not taken back.
    pub fn count(&self) -> usize {
        self.batches.len()
    }

    /// Whether fewer than `most` batches are still to be stored, and none of the others failed.
    pub fn is_free(&self, most: usize) -> bool {
        let state = self.work.state.lock();
        self.batches.len() - state.done.len() < most && state.done.iter().all(Result::is_ok)
    }

    /// Bytes of the batches not taken back.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Has a batch stored after those before. Gives it back where no thread can be started.
    pub fn hand_over(&mut self, batch: Batch, store: Arc<dyn ObjectStore>) -> Result<(), (Batch, Error)> {
        let batch = Arc::new(batch);
        let mut state = self.work.state.lock();
        if !state.running {
            let work = self.work.clone();
            if let Err(error) = thread::Builder::new().name("drain".into()).spawn(move || work.run(&*store)) {
                let error = Error::Refused(format!("starting a thread to store chunks ({error})"));
                return Err((Arc::unwrap_or_clone(batch), error));
            }
            state.running = true;
        }
        state.waiting.push_back(batch.clone());
        self.bytes += batch.len();
        self.batches.push_back(batch);
        Ok(())
    }

    /// Takes the first batch back with the pieces it became, or why it was not stored; `None` where there is
    /// none, or it is still to be stored and not to be waited for.
    pub fn take_back(&mut self, wait: bool) -> Option<(Batch, Result<Vec<Piece>>)> {
        let mut state = self.work.state.lock();
        while wait && state.done.is_empty() && !self.batches.is_empty() {
            self.work.done.wait(&mut state);
        }
        let stored = state.done.pop_front()?;
        drop(state);
        Some((self.first()?, stored))
    }

    /// Takes the first batch back if it has been stored: a failure stays.
    pub fn take_stored(&mut self) -> Option<(Batch, Vec<Piece>)> {
        let mut state = self.work.state.lock();
        if !state.done.front().is_some_and(Result::is_ok) {
            return None;
        }
        let pieces = state.done.pop_front()?.ok()?;
        drop(state);
        Some((self.first()?, pieces))
    }

    fn first(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.len();
        Some(Arc::unwrap_or_clone(batch))
    }
}

impl Work {
    fn run(&self, store: &dyn ObjectStore) {
        let mut state = self.state.lock();
        while let Some(batch) = state.waiting.pop_front() {
            drop(state);
            let defect = |_| Err(Error::Refused("storing chunks, by a defect".into()));
            let stored = catch_unwind(AssertUnwindSafe(|| batch.store(store))).unwrap_or_else(defect);
            // Before it can be taken back, which is cheaper when nobody else has it.
            drop(batch);
            state = self.state.lock();
            state.done.push_back(stored);
            self.done.notify_one();
        }
        state.running = false;
    }
}
