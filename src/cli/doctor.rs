//! `strata doctor`

mod machine;
mod store;

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use serde::Serialize;

use crate::daemon::Failure;
use crate::daemon::ask::PATIENCE;
use crate::daemon::failure::FAILED;

use super::Context;
use super::out::{Out, Paint};

/// Check that this machine can mount a store, and say what to do where it cannot
///
/// Looks at the FUSE device and its helper, the kernel, limits and the clock; at the store's place, its disk and
/// file system, and whether a daemon has it and answers; at mounts that killed daemons left behind; and, where one
/// is given, at the mountpoint. Each check is ok, a warning or a failure, the last two with advice. The exit code
/// is 1 if something failed. Changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata doctor
  strata doctor --store /srv/store /data
  strata doctor --json | jq '.[] | select(.level != \"ok\")'")]
pub struct Args {
    /// Print a JSON array: check, level (ok, warn or fail), message, advice (null where there is none)
    #[arg(long)]
    json: bool,
    /// Where a store is to be mounted
    mountpoint: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    message: String,
    advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Finding {
        Finding { check, level: Level::Ok, message: message.into(), advice: None }
    }

    fn warn(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { level: Level::Warn, advice: Some(advice.into()), ..Finding::ok(check, message) }
    }

    fn fail(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { level: Level::Fail, ..Finding::warn(check, message, advice) }
    }

    /// Of something that has to be so, with the advice of the failure, or else this.
    fn of(
        check: &'static str,
        result: Result<(), Failure>,
        fine: impl Into<String>,
        advice: &str,
    ) -> Finding {
        match result {
            Ok(()) => Finding::ok(check, fine),
            Err(Failure { message, hint, .. }) => {
                Finding::fail(check, message, hint.unwrap_or_else(|| advice.to_owned()))
            }
        }
    }
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let store = context.store()?;
    let mut findings = machine::check();
    findings.extend(store::check(&store));
    if let Some(point) = &args.mountpoint {
        findings.push(machine::mountpoint(point, &store));
    }
    let mut out = Out::new();
    if args.json {
        out.json(&findings)?;
    } else {
        findings.iter().try_for_each(|finding| print(&mut out, finding))?;
    }
    out.flush()?;
    Ok(if findings.iter().any(|finding| finding.level == Level::Fail) { FAILED } else { 0 })
}

fn print(out: &mut Out, finding: &Finding) -> Result<(), Failure> {
    let (paint, word) = match finding.level {
        Level::Ok => (Paint::Added, "ok"),
        Level::Warn => (Paint::Changed, "warn"),
        Level::Fail => (Paint::Removed, "FAIL"),
    };
    out.paint(paint, format_args!("{word:4}"))?;
    out.text(format_args!("  {:10}  ", finding.check))?;
    out.name(finding.message.as_bytes())?;
    out.text(format_args!("\n"))?;
    if let Some(advice) = &finding.advice {
        out.text(format_args!("                  -> "))?;
        out.name(advice.as_bytes())?;
        out.text(format_args!("\n"))?;
    }
    Ok(())
}

/// What a call gives that a dead or stopped daemon may keep from returning; `None` where it does not return.
fn in_time<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (answer, answered) = mpsc::channel();
    // A thread that hangs ends with this process.
    let started = thread::Builder::new().name("doctor".into()).spawn(move || drop(answer.send(call())));
    started.ok().and_then(|_| answered.recv_timeout(PATIENCE).ok())
}
