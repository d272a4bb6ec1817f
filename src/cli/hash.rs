//! `strata hash`

pub mod tree;

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::Serialize;

use crate::daemon::Failure;

use super::out::{JsonName, Out};
use tree::Hashed;

/// Print the snapshot id of any directory
///
/// The id that a dataset with this content has, wherever it is: a hash of names, kinds, executable bits,
/// targets of symbolic links and contents, and of nothing else. Of a file, prints the id of its content.
/// Needs no store; changes nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  strata hash ~/copy-of-imagenet   # the snapshot that `strata log imagenet` shows?"
)]
pub struct Args {
    /// Print a JSON object: snapshot (of a file, content) and path
    #[arg(long)]
    json: bool,
    /// A directory or file
    path: PathBuf,
}

#[derive(Serialize)]
struct HashJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<&'a str>,
}

pub fn run(args: Args) -> Result<u8, Failure> {
    let hashed = tree::hash(&args.path)?;
    let id = match &hashed {
        Hashed::Tree(hash) => hash.to_hex(),
        Hashed::File(id) => id.to_hex(),
    };
    let path = args.path.as_os_str().as_bytes();
    let mut out = Out::new();
    if args.json {
        let name = JsonName::of(path);
        let is_tree = matches!(hashed, Hashed::Tree(_));
        out.json(&HashJson {
            snapshot: is_tree.then_some(&id),
            content: (!is_tree).then_some(&id),
            path: &name.text,
            path_bytes: name.bytes.as_deref(),
        })?;
    } else {
        out.text(format_args!("{id}  "))?;
        out.name(path)?;
        out.text(format_args!("\n"))?;
    }
    out.flush()?;
    Ok(0)
}
