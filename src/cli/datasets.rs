//! `strata datasets`

use crate::daemon::protocol::DatasetInfo;
use crate::daemon::{Failure, Item, Request};

use super::Context;
use super::out::{Out, Paint, ask, human, short_time};

/// List the datasets
///
/// A dataset is a directory at the top of a mount: `mkdir` makes one, `mv` renames it, `rmdir` of an
/// empty one puts it out of sight, its history kept. Where any has a quota or retention (`strata set`), these are
/// shown. Changes nothing, but cuts what waits to become a
/// version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  strata datasets")]
pub struct Args {
    /// Print a JSON array: name, policy, versions, newest (the time of the newest version), quota_bytes,
    /// retention, and logical_bytes and used_bytes, which only `strata status` counts
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let mut all = Vec::new();
    ask(context.client()?, Request::Datasets, |_, item| {
        if let Item::Dataset(dataset) = item {
            all.push(dataset);
        }
        Ok(())
    })?;
    let mut out = Out::new();
    if args.json {
        out.json(&all)?
    } else {
        table(&mut out, &all)?
    }
    out.flush()?;
    Ok(0)
}

/// Prints datasets in columns; without one for sizes where none was counted.
pub fn table(out: &mut Out, datasets: &[DatasetInfo]) -> Result<(), Failure> {
    let width = datasets.iter().map(|d| d.name.chars().count()).max().unwrap_or(0).max(7);
    let counted = datasets.iter().any(|d| d.logical_bytes.is_some());
    let size = |text: &str| if counted { format!("  {text:>10}") } else { String::new() };
    let limited = datasets.iter().any(|d| d.quota_bytes.is_some());
    let quota = |text: &str| if limited { format!("  {text:>10}") } else { String::new() };
    let pruned = datasets.iter().any(|d| d.retention.is_some());
    let policy_width = datasets.iter().map(|d| d.policy.len()).max().unwrap_or(0).max(6);
    let last = |policy: &str, retention: &str| match pruned {
        true => format!("{policy:policy_width$}  {retention}"),
        false => policy.to_owned(),
    };
    let (size_head, quota_head, last_head) = (size("size"), quota("quota"), last("policy", "retention"));
    let head = format!(
        "{:width$}  {:>9}  {:19}{size_head}{quota_head}  {last_head}",
        "dataset", "versions", "newest"
    );
    out.paint(Paint::Head, format_args!("{head}"))?;
    out.text(format_args!("\n"))?;
    for dataset in datasets {
        let newest = dataset.newest.as_deref().map_or("-".into(), short_time);
        let bytes = size(&dataset.logical_bytes.map_or("-".into(), human));
        let quota = quota(&dataset.quota_bytes.map_or("-".into(), human));
        out.text(format_args!(
            "{:width$}  {:>9}  {newest:19}{bytes}{quota}  {}\n",
            dataset.name,
            dataset.versions,
            last(&dataset.policy, dataset.retention.as_deref().unwrap_or("-"))
        ))?;
    }
    Ok(())
}
