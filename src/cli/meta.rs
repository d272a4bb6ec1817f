//! `strata meta`

use crate::daemon::{Failure, ObjectSpec, Request};
use crate::dataset::meta::About;

use super::out::{Out, Print};
use super::{Context, values};

/// Describe a version for programs
///
/// Writes one of the texts that @meta/ has in the mount to standard output, with the same bytes. croissant: a
/// description in the Croissant 1.0 format, with the columns of CSV, TSV and JSONL files. manifest: a JSON object a
/// line for all there is: path, kind, size, mode, mtime, sha256, b3sum, content, target. sha256sums: what
/// `sha256sum -c` checks. stats: figures, as JSON. All but stats read every file once. Without @VERSION, the newest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata meta imagenet@v3 croissant
  strata meta imagenet manifest | jq -r 'select(.size > 1000000) | .path'
  strata meta imagenet@prod sha256sums > sums; cd ~/copy && sha256sum -c --quiet ~/sums")]
pub struct Args {
    /// The version, or a directory of it
    #[arg(value_name = "DATASET[@VERSION][/DIR]", value_parser = values::object())]
    object: ObjectSpec,
    /// The text
    #[arg(value_enum)]
    about: Wanted,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Wanted {
    /// croissant.json
    Croissant,
    /// manifest.jsonl
    Manifest,
    /// sha256sums
    Sha256sums,
    /// stats.json
    Stats,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let about = match args.about {
        Wanted::Croissant => About::Croissant,
        Wanted::Manifest => About::Manifest,
        Wanted::Sha256sums => About::Sha256Sums,
        Wanted::Stats => About::Stats,
    };
    let mut client = context.client()?;
    let mut out = Out::new();
    let request = Request::Meta { object: args.object, about };
    client.run(request, &mut Print::new(&mut out, |_: &mut Out, _| Ok(())))?;
    out.flush()?;
    client.close()?;
    Ok(0)
}
