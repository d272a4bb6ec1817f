//! Wakes a background thread, or ends it.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// What a thread sleeps on between its rounds.
#[derive(Debug, Default)]
pub struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    stopped: bool,
}

impl Bell {
    /// Wakes the thread, now or when it next waits.
    pub fn ring(&self) {
        let mut state = self.state.lock();
        if !state.rung {
            state.rung = true;
            self.changed.notify_one();
        }
    }

    /// Tells the thread to end.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits for a ring, at most for `time`; false where the thread is to end.
    pub fn wait(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.rung && !state.stopped {
            self.changed.wait_for(&mut state, time);
        }
        state.rung = false;
        !state.stopped
    }
}
