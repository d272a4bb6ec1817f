//! `strata diff`

pub mod contents;
pub mod found;
mod key;
mod outside;
pub mod side;
mod table_text;
mod text;
pub mod within;

use crate::daemon::Failure;
use crate::daemon::protocol::ChangeInfo;
use crate::dataset::Stat;
use crate::table;

use super::change::Within;
use super::out::{Out, human};
use super::values::{self, DatasetPath};
use super::{Context, change};
use contents::Contents;
use found::{Each, Found};
use key::Columns;
use side::Side;
use within::How;

/// Show how two versions differ, or a version and a directory
///
/// Prints each path that differs: A added, D removed, M modified, R renamed, a only attributes; then how many
/// there are. Two versions of one dataset are compared by what the versions between them recorded, so that it
/// takes as long as there are changes, however large the dataset is. Versions of two datasets, or different
/// directories, are compared by what a snapshot id covers: names, kinds, content, and whether a file can be
/// executed. What was renamed is known again by its inode or its content. Without @VERSION, the newest.
///
/// One of the two may be an ordinary directory or file: what begins with / or ./ or ../, or is . or .. alone.
/// Its files are compared by size and content, its permissions too, times and owners not. What cannot be read
/// there is told, and the exit code is 1.
///
/// Tables (.csv, .tsv, .tab, .jsonl, .ndjson, .parquet, .pq, and what begins as Parquet does) are compared by
/// rows and columns, where PATH is a single one (and -p is not given) or with --tables. Told are rows added,
/// removed and, by --key, changed, with regard to the columns that both have; columns added, removed and of
/// another type; and what moved within a column: nulls, different values (from 4096 on an estimate, marked
/// ~), least, greatest, mean, and how often each value is there where these are at most 64. The order of rows
/// does not matter, nor does how a value is written. CSV has a header; an empty field is a null; its types
/// are those that all values look like. A malformed table is an error that names the line; --bytes tells only
/// that it differs. Memory is bounded whatever the size; scratch files without a name go to $TMPDIR or
/// /var/tmp.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata diff imagenet@v3 imagenet@latest
  strata diff --stat imagenet@2026-11-01 imagenet train
  strata diff raw@v2/labels clean@v7/labels --json | jq '.changes[].path'
  strata diff imagenet@v3 imagenet labels.csv --key image_id --rows 10
  strata diff cities@v1 cities all.csv --key '\"name, country\"' --key year
  strata diff -p configs@v1 configs@v2
  strata diff imagenet@1.4.0 ./imagenet-copy")]
pub struct Args {
    /// Print only how many paths differ
    #[arg(long, conflicts_with_all = ["tables", "key", "rows", "patch"])]
    stat: bool,
    /// Tell how tables that were modified differ, by rows and columns
    #[arg(long)]
    tables: bool,
    /// The columns by which rows of a table are known: rows with the same values there are one row, changed or not. A
    /// name with a comma or a quote goes in double quotes, as in CSV; the option can be given more than once
    #[arg(long, value_name = "COLUMN[,COLUMN]", value_parser = key::columns)]
    key: Vec<Columns>,
    /// Print up to so many rows of each kind, the first ones
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    rows: Option<usize>,
    /// Do not look into tables: tell only that they differ
    #[arg(long, conflicts_with_all = ["tables", "key", "rows"])]
    bytes: bool,
    /// Print the lines that differ in text files of at most 1 MiB, as diff -u does
    #[arg(short, long)]
    patch: bool,
    /// Print a JSON object: the array changes (path, from where it was renamed, kind, change,
    /// size_before, size_after, mode_before, mode_after, where it was of another kind kind_before, where attributes
    /// besides the mode changed attributes (owner, xattrs, time), and where asked for table, patch or no_patch,
    /// error) unless --stat is given, and stat (added, removed, modified, renamed, attributes, bytes_before,
    /// bytes_after). A table has format, key, rows (before, after, added, removed, changed, unchanged), columns
    /// (name, change, changed, and before and after: type, values, nulls, nans, distinct, distinct_is_estimate,
    /// min, max, mean, top), reordered, and samples (added, removed, changed)
    #[arg(long)]
    json: bool,
    /// The version, or directory, before
    #[arg(value_name = "DATASET[@VERSION][/PATH]|DIR", value_parser = side::parser())]
    before: Side,
    /// The version, or directory, after
    #[arg(value_name = "DATASET[@VERSION][/PATH]|DIR", value_parser = side::parser())]
    after: Side,
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

/// What was printed of the changes so far.
struct Told {
    out: Out,
    stat: Stat,
    json: bool,
    only_stat: bool,
    is_first: bool,
}

impl Told {
    /// Counts a change and prints it, `shown` to people.
    fn change(&mut self, change: &ChangeInfo, shown: &ChangeInfo) -> Result<(), Failure> {
        self.stat.add(change.change, (change.size_before, change.size_after));
        if self.only_stat || self.json { Ok(()) } else { change::print(&mut self.out, shown) }
    }

    /// Prints what differs within it.
    fn within(&mut self, change: &ChangeInfo, within: &Within) -> Result<(), Failure> {
        if self.only_stat {
            return Ok(());
        }
        if !self.json {
            return within::print(&mut self.out, within);
        }
        self.begin()?;
        change::json_with(&mut self.out, change, within, std::mem::take(&mut self.is_first))
    }

    /// Not before there is something to tell: what fails prints nothing.
    fn begin(&mut self) -> Result<(), Failure> {
        if self.is_first { self.out.text(format_args!("{{\"changes\":[")) } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.json {
            let text =
                serde_json::to_string(&self.stat).map_err(|e| Failure::because("cannot write JSON", &e))?;
            if !self.only_stat {
                self.begin()?;
            }
            let start = if self.only_stat { "{" } else { "]," };
            self.out.text(format_args!("{start}\"stat\":{text}}}\n"))?;
        } else {
            self.stat.print(&mut self.out)?;
        }
        self.out.flush()
    }
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let path = args.path.map(|path| path.0).unwrap_or_default();
    let contents = Contents::new(context.client()?);
    let mut told = Told {
        out: Out::new(),
        stat: Stat::default(),
        json: args.json,
        only_stat: args.stat,
        is_first: true,
    };
    let tables = args.tables || args.rows.is_some() || !args.key.is_empty();
    let mut each = |change: &ChangeInfo, shown: &ChangeInfo| {
        told.change(change, shown)?;
        told.within(change, &Within::default())
    };
    // Of what is looked into, both sides are read by the same way to the store.
    let each: Option<Each<'_>> = if tables || args.patch { None } else { Some(&mut each) };
    let found = Found::new(&contents, [args.before, args.after], &path, each)?;
    let how = How {
        tables: tables || (!args.bytes && !args.patch && !args.stat && found.is_one_table(&contents)),
        patch: args.patch,
        options: table::Options {
            key: args.key.into_iter().flat_map(|columns| columns.0).collect(),
            rows: args.rows.unwrap_or(0),
            scratch: within::scratch_dir(),
        },
    };
    let mut code = 0;
    let mut tell = |failure: &Failure| {
        eprintln!("strata: {}", failure.message);
        if let Some(hint) = &failure.hint {
            eprintln!("hint: {hint}");
        }
        code = failure.code;
    };
    found.unread.iter().for_each(&mut tell);
    for change in &found.changes {
        told.change(change, &found.shown(change))?;
        if !told.json {
            // Where what is within takes its time, this is there to be seen.
            told.out.flush()?;
        }
        let within = within::within(&contents, &found, change, &how);
        contents.clear();
        let within = within.unwrap_or_else(|failure| {
            tell(&failure);
            Within { error: Some(failure.message), ..Within::default() }
        });
        told.within(change, &within)?;
    }
    told.end()?;
    drop(found);
    contents.close()?;
    Ok(code)
}
