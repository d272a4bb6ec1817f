//! Starting the daemon in the background, and hearing from it when the mount can be used.
//!
//! The daemon is this program again, detached from the terminal, its standard output a pipe on which
//! it says once that it is ready or why it is not. Until then its standard error is that of the command.

use std::fs::File;
use std::io;
use std::process::{Command, Stdio};

use super::failure::Failure;
use super::frame::{self, Kind};

/// Starts `arguments` of this program in the background; returns when it says that it is ready.
///
/// # Errors
/// What the daemon says, or that it ended without a word.
pub fn start(arguments: &[std::ffi::OsString]) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::because("cannot start the daemon", &e);
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(few_arenas())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let said = match child.stdout.take() {
        Some(mut pipe) => frame::read(&mut pipe),
        None => Ok(None),
    };
    match said {
        Ok(Some((Kind::End, _))) => Ok(()),
        Ok(Some((Kind::Failure, payload))) => {
            // It has nothing to do but to end.
            drop(child.wait());
            Err(frame::decode(&payload).map_err(|e| Failure::because("cannot start the daemon", &e))?)
        }
        _ => {
            let how = child.wait().map_err(failed)?;
            Err(Failure::new(format!("the daemon ended before the mount was ready ({how})"))
                .hint("daemon.log in the store may say why"))
        }
    }
}

/// Keeps glibc from an arena for each thread: what one thread frees the others cannot use, and with a
/// million files the daemon took a third more memory.
fn few_arenas() -> Option<(&'static str, &'static str)> {
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    std::env::var_os(ARENAS).is_none().then_some((ARENAS, "2"))
}

/// Where the one who started a mount hears how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starter {
    /// A person at a terminal or a service manager, on standard error.
    Foreground,
    /// The command that started this daemon, on its pipe.
    Command,
}

impl Starter {
    /// Has a daemon leave its command's directory.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn leave_directory(self) -> Result<(), Failure> {
        match self {
            Starter::Foreground => Ok(()),
            Starter::Command => std::env::set_current_dir("/").map_err(|e| cannot_detach(&e)),
        }
    }

    /// Detaches a daemon from its command's terminal, says that the mount can be used, and lets go of the command's
    /// output. Not before: a directory that is mounted when it is looked at (autofs) can be reached by the process
    /// group of the one that mounts it alone, until it is mounted.
    ///
    /// # Errors
    /// Where the system refuses, or the command is gone; nobody knows of the mount then.
    pub fn ready(self) -> Result<(), Failure> {
        if self == Starter::Foreground {
            return Ok(());
        }
        rustix::process::setsid().map_err(|e| cannot_detach(&e.into()))?;
        let failed = |e: io::Error| Failure::because("cannot tell that the mount is ready", &e);
        frame::write_json(&mut io::stdout().lock(), Kind::End, &0)
            .map_err(|e| Failure::because("cannot tell that the mount is ready", &e))?;
        self.let_go().map_err(failed)
    }

    /// Says why there is no mount; gives what is left to say.
    pub fn failed(self, failure: Failure) -> Failure {
        if self == Starter::Command
            && frame::write_json(&mut io::stdout().lock(), Kind::Failure, &failure).is_ok()
        {
            return Failure { message: String::new(), hint: None, ..failure };
        }
        failure
    }

    fn let_go(self) -> io::Result<()> {
        use io::Write;
        io::stdout().flush()?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        Ok(rustix::stdio::dup2_stdout(null)?)
    }
}

fn cannot_detach(error: &io::Error) -> Failure {
    Failure::because("cannot detach the daemon", error)
}
