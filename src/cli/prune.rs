//! `strata prune`

use std::time::Duration;

use serde::Serialize;

use crate::daemon::protocol::{PlannedInfo, PrunedInfo};
use crate::daemon::{Failure, Item, Request};
use crate::model::{DatasetName, Rules, parse_span};

use super::out::{JsonName, Out, ask, count, human, one_line, short_time};
use super::{Context, values};

/// Give up versions that are no longer wanted
///
/// Keeps the versions that any of the rules keeps, the newest, those that are pinned, that a tag names or of
/// which a file or directory is open; gives up all others. Their numbers, ids, authors and messages stay in the
/// log, which says by whom and when they were pruned; what they held can no longer be read. Numbers and ids of
/// what is kept do not change. The space is given back by `strata gc`. Rules that would leave nothing but the
/// newest version are refused, unless --keep-last or --force says that this is meant.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata prune imagenet --keep-last 10 --keep-daily 30 --keep-monthly 12 --dry-run
  strata prune imagenet --keep-within 30d --keep-tagged && strata gc")]
pub struct Args {
    /// Keep the newest N
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_last: u64,
    /// Keep the newest of each of the last N hours that have any
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_hourly: u64,
    /// Keep the newest of each of the last N days (UTC) that have any
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_daily: u64,
    /// Keep the newest of each of the last N weeks that have any
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_weekly: u64,
    /// Keep the newest of each of the last N months that have any
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_monthly: u64,
    /// Keep what was made at most so long before the newest: 12h, 30d, 8w
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    keep_within: Option<Duration>,
    /// Keep what tags name (they do so anyway), and let that be enough
    #[arg(long)]
    keep_tagged: bool,
    /// Only tell what would be dropped, and what that would free
    #[arg(long)]
    dry_run: bool,
    /// Even if nothing but the newest version, pins and tags is left
    #[arg(long)]
    force: bool,
    /// Print a JSON object: dataset, dry_run, kept, dropped, bytes, versions (version, time, keep), paths (path,
    /// bytes), more_paths
    #[arg(long)]
    json: bool,
    /// What to say of it
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
}

#[derive(Serialize)]
struct PrunedJson<'a> {
    dataset: &'a str,
    dry_run: bool,
    kept: u64,
    dropped: u64,
    bytes: u64,
    versions: &'a [PlannedInfo],
    paths: Vec<PathJson>,
    more_paths: u64,
}

#[derive(Serialize)]
struct PathJson {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    bytes: u64,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let rules = Rules {
        last: args.keep_last,
        hourly: args.keep_hourly,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        within: args.keep_within.map(|time| time.as_secs()),
        tagged: args.keep_tagged,
        every: None,
    };
    let Args { dataset, dry_run, force, message, json, .. } = args;
    let request = Request::Prune { dataset, rules, dry_run, force, message };
    let mut versions = Vec::new();
    ask(context.client()?, request, |out, item| match item {
        Item::Planned(planned) if json => {
            versions.push(planned);
            Ok(())
        }
        Item::Planned(planned) if dry_run => print_version(out, &planned),
        Item::Pruned(pruned) if json => print_json(out, &pruned, &versions),
        Item::Pruned(pruned) => print(out, &pruned),
        _ => Ok(()),
    })
}

fn print_version(out: &mut Out, planned: &PlannedInfo) -> Result<(), Failure> {
    let what = if planned.keep.is_empty() { "drop" } else { "keep" };
    let why = one_line(&planned.keep.join(", "));
    out.text(format_args!("{what} {:6} {}", planned.version, short_time(&planned.time)))?;
    out.text(format_args!("{}{why}\n", if why.is_empty() { "" } else { "  " }))
}

fn print(out: &mut Out, pruned: &PrunedInfo) -> Result<(), Failure> {
    let PrunedInfo { dataset, dry_run, kept, dropped, bytes, paths, more_paths } = pruned;
    let would = if *dry_run { "would be " } else { "" };
    out.text(format_args!("{dataset}: {} {would}pruned, {kept} kept; ", count(*dropped, "version")))?;
    out.text(format_args!("{} for `strata gc` to give back\n", human(*bytes)))?;
    for (path, bytes) in paths {
        out.text(format_args!("  {:>10}  ", human(*bytes)))?;
        out.name(path)?;
        out.text(format_args!("\n"))?;
    }
    match more_paths {
        0 => Ok(()),
        more => out.text(format_args!("  and {}\n", count(*more, "more path"))),
    }
}

fn print_json(out: &mut Out, pruned: &PrunedInfo, versions: &[PlannedInfo]) -> Result<(), Failure> {
    let PrunedInfo { dataset, dry_run, kept, dropped, bytes, paths, more_paths } = pruned;
    let path = |(path, bytes): &(Vec<u8>, u64)| {
        let name = JsonName::of(path);
        PathJson { path: name.text.into_owned(), path_bytes: name.bytes, bytes: *bytes }
    };
    out.json(&PrunedJson {
        dataset,
        dry_run: *dry_run,
        kept: *kept,
        dropped: *dropped,
        bytes: *bytes,
        versions,
        paths: paths.iter().map(path).collect(),
        more_paths: *more_paths,
    })
}
