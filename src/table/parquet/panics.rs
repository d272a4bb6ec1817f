//! What is done with panics of the crate.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use parquet::errors::Result;

thread_local! {
    /// Whether panics of this thread are caught and need no word on standard error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Does it; gives why it failed, or that it panicked.
pub fn caught<T>(act: impl FnOnce() -> Result<T>) -> std::result::Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                others(info);
            }
        }));
    });
    CAUGHT.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(act));
    CAUGHT.set(false);
    match done {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason is known");
            Err(format!("cannot be decoded: {text}"))
        }
    }
}
