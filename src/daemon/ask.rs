//! Whether the daemon of a mount answers.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A daemon that has not answered for so long is taken to hang.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What `stat` says where the daemon is dead, or dies while it is asked: ENOTCONN, ECONNABORTED.
const DEAD: [&str; 2] = ["Transport endpoint is not connected", "Software caused connection abort"];

/// What comes of asking a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It says something: it is alive.
    Given,
    /// It is dead.
    Dead,
    /// Nothing for [`PATIENCE`]: it is stopped, or hangs.
    None,
}

/// Asks the daemon of the mount at `point` for what is never cached.
///
/// Who asks cannot be ended, not even by SIGKILL, while a daemon that hangs has the request. So another process asks,
/// which is left behind where there is no answer, and is gone as soon as that daemon is. Where it cannot be started,
/// the daemon is taken to be alive.
pub fn ask(point: &Path) -> Answer {
    let mut stat = Command::new("stat");
    stat.args(["-f", "--"]).arg(point).env("LC_ALL", "C");
    let started = stat.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let Ok(mut asking) = started else {
        return Answer::Given;
    };
    match complaint(&mut asking) {
        Some(text) if DEAD.iter().any(|dead| text.contains(dead)) => Answer::Dead,
        Some(_) => Answer::Given,
        None => {
            drop(asking.kill());
            Answer::None
        }
    }
}

/// What it writes to standard error until it ends; `None` where it does not end.
fn complaint(asking: &mut Child) -> Option<String> {
    let mut stderr = asking.stderr.take()?;
    let (end, ended) = mpsc::channel();
    let listen = move || {
        let mut text = Vec::new();
        drop(stderr.read_to_end(&mut text));
        drop(end.send(String::from_utf8_lossy(&text).into_owned()));
    };
    thread::Builder::new().name("ask".into()).spawn(listen).ok()?;
    let text = ended.recv_timeout(PATIENCE).ok()?;
    drop(asking.wait());
    Some(text)
}
