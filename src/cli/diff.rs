//! `strata diff`

use crate::daemon::{Failure, Item, ObjectSpec, Request};
use crate::dataset::Stat;

use super::out::{Out, ask, human};
use super::values::{self, DatasetPath};
use super::{Context, change};

/// Show how two versions differ
///
/// Prints each path that differs: A added, D removed, M modified, R renamed, a only attributes; then how many
/// there are. Two versions of one dataset are compared by what the versions between them recorded, so that it
/// takes as long as there are changes, however large the dataset is. Versions of two datasets, or different
/// directories, are compared by what a snapshot id covers: names, kinds, content, and whether a file can be
/// executed. What was renamed is known again by its inode or its content. Without @VERSION, the newest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata diff imagenet@v3 imagenet@latest
  strata diff --stat imagenet@2026-11-01 imagenet train
  strata diff raw@v2/labels clean@v7/labels --json | jq '.changes[].path'")]
pub struct Args {
    /// Print only how many paths differ
    #[arg(long)]
    stat: bool,
    /// Print a JSON object: the array changes (path, from where it was renamed, kind, change,
    /// size_before, size_after, mode_before, mode_after) unless --stat is given, and stat (added, removed,
    /// modified, renamed, attributes, bytes_before, bytes_after)
    #[arg(long)]
    json: bool,
    /// The version before
    #[arg(value_name = "DATASET[@VERSION][/PATH]", value_parser = values::object())]
    before: ObjectSpec,
    /// The version after
    #[arg(value_name = "DATASET[@VERSION][/PATH]", value_parser = values::object())]
    after: ObjectSpec,
    /// Only what is at or below this path
    #[arg(value_parser = values::path())]
    path: Option<DatasetPath>,
}

impl Stat {
    fn paths(&self) -> u64 {
        self.added + self.removed + self.modified + self.renamed + self.attributes
    }

    fn print(&self, out: &mut Out) -> Result<(), Failure> {
        let paths = self.paths();
        if paths == 0 {
            return out.text(format_args!("no path differs\n"));
        }
        out.text(format_args!("{paths} path{}", if paths == 1 { " differs: " } else { "s differ: " }))?;
        let parts = [
            (self.added, "added"),
            (self.removed, "removed"),
            (self.modified, "modified"),
            (self.renamed, "renamed"),
            (self.attributes, "in attributes alone"),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts.map(|(count, what)| format!("{count} {what}")).collect();
        let (before, after) = (human(self.bytes_before), human(self.bytes_after));
        out.text(format_args!("{}; {before} -> {after}\n", parts.join(", ")))
    }
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let path = args.path.map(|path| path.0).unwrap_or_default();
    let request = Request::Diff { before: args.before, after: args.after, path };
    let mut stat = Stat::default();
    let mut begun = false;
    let code = ask(context.client()?, request, |out, item| {
        let Item::Change(change) = item else { return Ok(()) };
        stat.add(change.change, (change.size_before, change.size_after));
        match (args.stat, args.json) {
            (true, _) => Ok(()),
            (false, false) => change::print(out, &change),
            (false, true) => {
                if !begun {
                    out.text(format_args!("{{\"changes\":["))?;
                }
                change::json(out, &change, !std::mem::replace(&mut begun, true))
            }
        }
    })?;
    let mut out = Out::new();
    if args.json {
        let text = serde_json::to_string(&stat).map_err(|e| Failure::because("cannot write JSON", &e))?;
        let open = match (args.stat, begun) {
            (true, _) => "{",
            (false, false) => "{\"changes\":[],",
            (false, true) => "],",
        };
        out.text(format_args!("{open}\"stat\":{text}}}\n"))?;
    } else {
        stat.print(&mut out)?;
    }
    out.flush()?;
    Ok(code)
}
