//! `strata show`

use crate::daemon::{Failure, Item, ObjectSpec, Request};
use crate::dataset::LogEntry;

use super::out::{Out, Paint, ask, count, one_line, short_time};
use super::{Context, annotate, change, values};

/// As many changes are shown where nobody asks for all: what is more is not read in a terminal.
const SHOWN: u64 = 1000;

/// Show what a version changed
///
/// Prints the version's ids, time, author and message, its tags, pin and annotations, then each path it
/// changed: A added, D removed, M modified, R renamed, a only attributes. Of a version that changed more than
/// 1000 paths, it prints 1000 and says so, unless --all or --json is given. Without @VERSION, the newest.
/// Changes nothing, but cuts what waits to become a version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata show imagenet@v3
  strata show imagenet@latest --json | jq '.changes[].path'")]
pub struct Args {
    /// Print every path, however many there are
    #[arg(short, long)]
    all: bool,
    /// Print a JSON object: that of `strata log --json`, with the array changes, as
    /// `strata diff --json` has it
    #[arg(long)]
    json: bool,
    /// The version
    #[arg(value_name = "DATASET@VERSION", value_parser = values::version_of_dataset)]
    version: ObjectSpec,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let limit = (!args.all && !args.json).then_some(SHOWN);
    let request = Request::Show { dataset: args.version.dataset, version: args.version.version, limit };
    let (mut first, mut changes, mut more) = (true, 0u64, false);
    let code = ask(context.client()?, request, |out, item| match item {
        Item::Version(entry) if args.json => begin_json(out, &entry),
        Item::Version(entry) => print_head(out, &entry),
        Item::Change(change) => {
            changes += 1;
            if args.json {
                change::json(out, &change, std::mem::take(&mut first))
            } else {
                change::print(out, &change)
            }
        }
        Item::More => {
            more = true;
            Ok(())
        }
        _ => Ok(()),
    })?;
    let mut out = Out::new();
    match args.json {
        true => out.text(format_args!("]}}\n"))?,
        false if more => out.text(format_args!("more than {changes} paths changed; --all shows all\n"))?,
        false => out.text(format_args!("{} changed\n", count(changes, "path")))?,
    }
    out.flush()?;
    Ok(code)
}

/// The object of the version, but for its end: the changes follow one by one, however many there are.
fn begin_json(out: &mut Out, entry: &LogEntry) -> Result<(), Failure> {
    let text = serde_json::to_string(entry).map_err(|e| Failure::because("cannot write JSON", &e))?;
    // The number of changes gives way to the changes themselves.
    let open = text.rfind(",\"changes\":").map_or(text.as_str(), |at| &text[..at]);
    out.text(format_args!("{open},\"changes\":["))
}

fn print_head(out: &mut Out, entry: &LogEntry) -> Result<(), Failure> {
    out.text(format_args!("version   "))?;
    out.paint(Paint::Name, format_args!("{}", entry.version))?;
    out.text(format_args!("\n"))?;
    out.text(format_args!("id        {}\nsnapshot  {}\n", entry.id, entry.snapshot))?;
    out.text(format_args!("time      {}\n", entry.time))?;
    out.text(format_args!("author    uid {}, gid {}, process {}: ", entry.uid, entry.gid, entry.pid))?;
    out.name(entry.command.as_bytes())?;
    out.text(format_args!("\n"))?;
    if let Some(message) = &entry.message {
        out.text(format_args!("message   "))?;
        out.name(message.as_bytes())?;
        out.text(format_args!("\n"))?;
    }
    if let Some(restores) = &entry.restores {
        out.text(format_args!("restores  {restores}\n"))?;
    }
    if !entry.tags.is_empty() {
        out.text(format_args!("tags      {}\n", entry.tags.join(", ")))?;
    }
    if let Some(pin) = &entry.pin {
        out.text(format_args!("pinned    {} by uid {}", short_time(&pin.time), pin.uid))?;
        if let Some(message) = &pin.message {
            out.text(format_args!(": {}", one_line(message)))?;
        }
        out.text(format_args!("\n"))?;
    }
    annotate::print(out, entry, "")?;
    out.text(format_args!("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Pin;
    use crate::model::AnnotationKey;

    #[test]
    fn the_number_of_changes_gives_way_to_the_changes() {
        let entry = LogEntry {
            damaged: false,
            pinned: true,
            pin: Some(Box::new(Pin {
                time: "t".into(),
                uid: 0,
                command: ",\"changes\":5".into(),
                message: Some(",\"changes\":4".into()),
            })),
            pruned: None,
            version: "v1".into(),
            id: "ab".into(),
            snapshot: "cd".into(),
            time: "t".into(),
            uid: 0,
            gid: 0,
            pid: 1,
            command: ",\"changes\":7".into(),
            message: Some(",\"changes\":8".into()),
            restores: None,
            tags: vec!["prod".into()],
            note: Some(",\"changes\":9".into()),
            annotations: [(AnnotationKey::new("k").unwrap(), ",\"changes\":6".into())].into(),
            changes: 3,
        };
        let text = serde_json::to_string(&entry).unwrap();
        let open = &text[..text.rfind(",\"changes\":").unwrap()];
        let whole: serde_json::Value = serde_json::from_str(&format!("{open},\"changes\":[]}}")).unwrap();
        assert_eq!(whole["changes"], serde_json::json!([]));
        assert_eq!(whole["message"], ",\"changes\":8");
        assert_eq!((&whole["pinned"], &whole["pin"]["message"]), (&true.into(), &",\"changes\":4".into()));
    }
}
