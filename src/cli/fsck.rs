//! `strata fsck`

use serde::Serialize;

use crate::daemon::failure::{DAMAGED, REPAIRED};
use crate::daemon::{Client, Failure, control, preflight};
use crate::store::{self, FsckOptions, Outcome, Problem};

use super::Context;
use super::out::{Out, count};
use super::progress::Waiting;
use super::verify::{DamageJson, find};

/// Check a store that is not in use, and repair it
///
/// Checks every file of the store, then replays the versions as `strata verify` does. What is damaged is
/// restored from what else tells what it was: records of the packs from the packs' footers, the index,
/// copies elsewhere in the packs, or by their hash, which finds a single flipped bit; the index, footers,
/// strata.json and names of packs from the packs; versions whose records are lost from the index. What
/// cannot be restored is listed by dataset, version and path. Every file that is changed is kept as it was
/// in the directory `damaged` of the store, which may be removed once nothing in it is wanted.
///
/// The exit code is 0 where all is sound, 4 where something was wrong and now nothing is, 3 where
/// something is lost. A second run then finds nothing to repair, and lists what versions still lack.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata fsck --dry-run
  strata umount /data && strata fsck")]
pub struct Args {
    /// Change nothing; say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Make the index anew even if nothing is wrong with it; the old one is kept aside as index.bad-N
    #[arg(long)]
    rebuild_index: bool,
    /// Print a JSON object: dry_run, the array problems (file, offset, what, action, outcome: repaired,
    /// given-up where the versions tell whether anything needs it, lost where nothing else tells of it), and
    /// what `strata verify --json` prints, or null where the versions were not looked at
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ReportJson {
    dry_run: bool,
    problems: Vec<Problem>,
    records: Option<u64>,
    chunks: Option<u64>,
    versions: Option<u64>,
    damages: Option<Vec<DamageJson>>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let path = context.store()?;
    preflight::store_place(&path)?;
    let options = FsckOptions { dry_run: args.dry_run, rebuild_index: args.rebuild_index };
    let mut out = Out::new();
    let mut problems = Vec::new();
    let mut waiting = Some(Waiting::new("checking"));
    let checked = store::fsck(&path, options, &mut |problem| {
        // What is printed takes its place.
        waiting = None;
        if !args.json {
            // Who reads may be gone; the repair goes on.
            drop(print(&mut out, &problem));
        }
        problems.push(problem);
        Ok(())
    });
    drop(waiting);
    out.flush()?;
    checked.map_err(|error| {
        let in_use = matches!(error, store::Error::InUse { .. });
        let failure = Failure::from(error);
        match in_use && control::connect(&path).is_ok() {
            true => failure.hint("unmount it first: `strata status` says where it is mounted"),
            false => failure,
        }
    })?;
    let lost = problems.iter().any(|p| p.outcome == Outcome::Lost);
    let given_up = lost || problems.iter().any(|p| p.outcome == Outcome::GivenUp);
    if !args.json && !problems.is_empty() {
        let repaired = problems.iter().filter(|p| p.outcome == Outcome::Repaired).count();
        let tense = if args.dry_run { "would be repaired" } else { "repaired" };
        eprintln!("{}, {repaired} {tense}", count(problems.len() as u64, "problem"));
    }
    // What is to be repaired first cannot be replayed yet.
    let findings = match args.dry_run && !problems.is_empty() {
        true => None,
        false => Some(find(Client::open(&path)?, !args.json)?),
    };
    let code = match &findings {
        Some(findings) if findings.totals.damages > 0 || lost => DAMAGED,
        None if given_up => DAMAGED,
        _ if problems.is_empty() => 0,
        _ => REPAIRED,
    };
    if args.json {
        let totals = findings.as_ref().map(|findings| findings.totals);
        out.json(&ReportJson {
            dry_run: args.dry_run,
            problems,
            records: totals.map(|t| t.records),
            chunks: totals.map(|t| t.chunks),
            versions: totals.map(|t| t.versions),
            damages: findings.map(|findings| findings.damages),
        })?;
        out.flush()?;
    }
    Ok(code)
}

fn print(out: &mut Out, problem: &Problem) -> Result<(), Failure> {
    out.text(format_args!("{}", problem.file))?;
    if let Some(offset) = problem.offset {
        out.text(format_args!(" at byte {offset}"))?;
    }
    out.text(format_args!(": {}: {}\n", problem.what, problem.action))
}
