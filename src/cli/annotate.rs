//! `strata annotate`

use std::collections::BTreeMap;

use crate::daemon::protocol::AnnotationInfo;
use crate::daemon::{Failure, Item, ObjectSpec, Request};
use crate::dataset::LogEntry;
use crate::model::{AnnotationKey, Remark};

use super::out::{Out, ask, one_line, short_time};
use super::{Context, values};

/// Say something of a version, without changing it
///
/// A version keeps its id, bytes and message, whatever is said of it: an annotation is a record of its own, with
/// author and time. `strata show`, `strata log --json` and @history/log.jsonl show the note and the values of a
/// version. The last of each key counts; all that was ever said is told with --history, as it is where there is
/// nothing to say. The keys name, description, license, url, cite, version, creator and keywords are taken up by
/// @meta/croissant.json. Without @VERSION, the newest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata annotate imagenet@v3 -m 'labels of 17 images are wrong'
  strata annotate imagenet@prod license=https://creativecommons.org/licenses/by/4.0/ reviewed=yes
  strata annotate imagenet@prod --remove reviewed
  strata annotate imagenet@prod --history")]
pub struct Args {
    /// Tell what was said, newest first
    #[arg(long, conflicts_with_all = ["message", "values", "remove"])]
    history: bool,
    /// Print JSON: the object of `strata log --json`; with --history an object a line: version, time, uid,
    /// command, message, values (null where a key was taken away)
    #[arg(long)]
    json: bool,
    /// A note, in place of the one before; an empty one takes that away
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Take a key away
    #[arg(long, value_name = "KEY", value_parser = values::annotation_key)]
    remove: Vec<AnnotationKey>,
    /// The version
    #[arg(value_name = "DATASET[@VERSION]", value_parser = values::version_of_dataset)]
    version: ObjectSpec,
    /// Values by key
    #[arg(value_name = "KEY=VALUE", value_parser = values::annotation)]
    values: Vec<(AnnotationKey, String)>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let remark = remark(args.message, args.values, args.remove)?;
    let history = args.history || remark.is_empty();
    let (dataset, version) = (args.version.dataset, args.version.version);
    let name = dataset.clone();
    let request = Request::Annotate { dataset, version, remark, history };
    ask(context.client()?, request, |out, item| match item {
        Item::Version(entry) if args.json => out.json(&entry),
        Item::Version(entry) => {
            out.text(format_args!("{name}: {}\n", entry.version))?;
            print(out, &entry, "  ")
        }
        Item::Annotation(info) if args.json => out.json(&info),
        Item::Annotation(info) => print_said(out, &info),
        _ => Ok(()),
    })
}

/// What is to be said; each key once.
fn remark(
    message: Option<String>,
    values: Vec<(AnnotationKey, String)>,
    remove: Vec<AnnotationKey>,
) -> Result<Remark, Failure> {
    let mut said = BTreeMap::new();
    let removed = remove.into_iter().map(|key| (key, None));
    for (key, value) in values.into_iter().map(|(key, value)| (key, Some(value))).chain(removed) {
        if said.contains_key(&key) {
            return Err(Failure::usage(format!("'{key}' is given twice")));
        }
        said.insert(key, value);
    }
    Ok(Remark { message, values: said })
}

/// Prints the note and the values of a version, a line each.
pub fn print(out: &mut Out, entry: &LogEntry, indent: &str) -> Result<(), Failure> {
    if let Some(note) = &entry.note {
        out.text(format_args!("{indent}note      "))?;
        out.name(note.as_bytes())?;
        out.text(format_args!("\n"))?;
    }
    for (key, value) in &entry.annotations {
        out.text(format_args!("{indent}{key} = "))?;
        out.name(value.as_bytes())?;
        out.text(format_args!("\n"))?;
    }
    Ok(())
}

fn print_said(out: &mut Out, info: &AnnotationInfo) -> Result<(), Failure> {
    out.text(format_args!("{:6} {}  uid {}", info.version, short_time(&info.time), info.uid))?;
    if let Some(message) = &info.message {
        out.text(format_args!("  \"{}\"", one_line(message)))?;
    }
    for (key, value) in &info.values {
        match value {
            Some(value) => out.text(format_args!("  {key}={}", one_line(value)))?,
            None => out.text(format_args!("  {key} removed"))?,
        }
    }
    out.text(format_args!("  "))?;
    out.name(info.command.as_bytes())?;
    out.text(format_args!("\n"))
}
