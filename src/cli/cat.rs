//! `strata cat`

use crate::daemon::{Failure, ObjectSpec, Request};

use super::out::{Out, Print};
use super::{Context, values};

/// Print files, live or as of a version
///
/// Writes the bytes of each file to standard output, one after the other; of a live file those of its
/// last close. Every chunk is checked against its hash. Works without a mount too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata cat imagenet@v3/labels.csv
  strata cat imagenet@prev/labels.csv | diff - <(strata cat imagenet/labels.csv)")]
pub struct Args {
    /// DATASET[@VERSION]/PATH
    #[arg(required = true, value_name = "OBJECT", value_parser = values::object())]
    objects: Vec<ObjectSpec>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let mut client = context.client()?;
    let mut out = Out::new();
    for object in args.objects {
        client.run(Request::Cat(object), &mut Print::new(&mut out, |_: &mut Out, _| Ok(())))?;
    }
    out.flush()?;
    client.close()?;
    Ok(0)
}
