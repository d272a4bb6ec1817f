//! `strata batch`

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGQUIT};

use crate::daemon::{Client, Failure, Item, Request};
use crate::model::DatasetName;

use super::out::{Out, Print};
use super::{Context, values};

/// Exit code where the command cannot be started, as shells have it.
const NOT_STARTED: u8 = 127;

/// Make one version of all that a command does
///
/// Runs CMD and holds back versions meanwhile; then everything that changed becomes one version of each
/// dataset, whoever changed it. If CMD fails, what it did becomes a version all the same, or with
/// --rollback-on-error is taken back, so that each dataset is as it was; one whose directory CMD removed and
/// made again is rolled back, by a further version. Takes in all datasets, those made meanwhile too, unless
/// some are named. The store must be mounted. If this command is killed, the
/// batch ends as if CMD had failed. The exit code is that of CMD.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata batch -- cp -r ~/images /data/images
  strata batch --dataset imagenet --rollback-on-error -m 'clean labels' -- ./clean.py /data/imagenet")]
pub struct Args {
    /// Hold back versions of this dataset only; may be given several times
    #[arg(long = "dataset", value_name = "NAME", value_parser = values::dataset)]
    datasets: Vec<DatasetName>,
    /// Take back everything if CMD fails
    #[arg(long)]
    rollback_on_error: bool,
    /// What to say of the versions
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let (program, arguments) =
        args.command.split_first().ok_or_else(|| Failure::usage("no command was given"))?;
    let mut client = Client::daemon(&context.store()?)?;
    client.begin_batch(Request::Batch {
        datasets: args.datasets,
        rollback_on_error: args.rollback_on_error,
        message: args.message,
    })?;
    // A key that interrupts is for the command; what it leaves behind is dealt with here.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGQUIT] {
        signal_hook::flag::register(signal, interrupted.clone())
            .map_err(|e| Failure::because("cannot catch signals", &e))?;
    }
    let ended = Command::new(program).args(arguments).status();
    let success = ended.as_ref().is_ok_and(ExitStatus::success);
    let mut out = Out::new();
    let print = |_: &mut Out, item| {
        if let Item::Made(made) = item {
            match (&made.version, &made.restores) {
                (Some(version), Some(restored)) => {
                    eprintln!("{}: {version} restores {restored}", made.dataset)
                }
                (Some(version), None) => eprintln!("{}: {version}", made.dataset),
                (None, _) if success || !args.rollback_on_error => {}
                (None, _) => eprintln!("{}: as it was at {}", made.dataset, made.newest),
            }
        }
        Ok(())
    };
    let told = client.end_batch(success, &mut Print::new(&mut out, print));
    if let (Err(failure), Ok(status)) = (&told, &ended)
        && !status.success()
    {
        return Err(Failure { code: exit_code(*status), ..failure.clone() });
    }
    told?;
    match ended {
        Ok(status) => Ok(exit_code(status)),
        Err(e) => Err(Failure {
            code: NOT_STARTED,
            ..Failure::because(format!("cannot run {}", program.display()), &e)
        }),
    }
}

/// The exit code as shells have it: 128 and the signal's number where one ended the command.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
