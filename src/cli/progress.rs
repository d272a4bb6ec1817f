//! How far a long command is, on a terminal.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(200);

/// What ends within this shows nothing.
const BRIEF: Duration = Duration::from_secs(1);

/// A line on standard error that shows how far it is; nothing where that is no terminal, or before a second is over.
pub struct Progress(Option<ProgressBar>, Instant);

impl Default for Progress {
    fn default() -> Progress {
        Progress(None, Instant::now())
    }
}

impl Progress {
    /// Shows that what there is to do is still being counted.
    pub fn counting(&mut self, text: &str) {
        if self.1.elapsed() < BRIEF {
            return;
        }
        let bar =
            self.0.get_or_insert_with(|| styled(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"));
        bar.set_message(text.to_owned());
    }

    /// Shows how many bytes are done, how fast, and when it is likely over.
    pub fn show(&mut self, done: u64, total: u64, text: &str) {
        if self.1.elapsed() < BRIEF {
            return;
        }
        const BAR: &str =
            "{msg} [{wide_bar}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
        if self.0.as_ref().is_none_or(|bar| bar.length() != Some(total)) {
            self.clear();
            self.0 = Some(styled(ProgressBar::new(total), BAR));
        }
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
            bar.set_position(done);
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Shows that something is under way of which nobody knows how long it takes, until it is dropped; a default one
/// shows nothing.
#[derive(Default)]
pub struct Waiting(Option<(Sender<()>, JoinHandle<()>)>);

impl Waiting {
    /// Begins to.
    pub fn new(text: &'static str) -> Waiting {
        if !io::stderr().is_terminal() {
            return Waiting(None);
        }
        let (end, ended) = mpsc::channel::<()>();
        let show = move || {
            if ended.recv_timeout(BRIEF) == Err(RecvTimeoutError::Timeout) {
                let bar = styled(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}");
                bar.set_message(text);
                // The other side says nothing; it goes away.
                ended.iter().for_each(drop);
                bar.finish_and_clear();
            }
        };
        Waiting(thread::Builder::new().name("progress".into()).spawn(show).ok().map(|thread| (end, thread)))
    }
}

impl Waiting {
    /// Takes the line away: there is something else to be seen.
    pub fn end(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            // It has nothing to give back.
            drop(thread.join());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.set_style(style.progress_chars("=> ")),
        Err(error) => log::debug!("no style for a progress bar: {error}"),
    }
    bar.enable_steady_tick(TICK);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        let mut progress = Progress::default();
        progress.show(1, 2, "1 of 3 files");
        assert!(progress.0.is_none(), "what is brief shows nothing");
        progress.1 -= BRIEF;
        progress.counting("3 files found");
        progress.show(1, 2, "1 of 3 files");
        assert_eq!(progress.0.as_ref().and_then(ProgressBar::length), Some(2));
        progress.clear();
        assert!(progress.0.is_none());
    }
}
