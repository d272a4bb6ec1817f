//! `strata checkout`

mod place;
mod work;

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::daemon::pointer::{EXTENSION, Pointer};
use crate::daemon::protocol::Located;
use crate::daemon::{Failure, Item, Nowhere, Request, Sink};

use super::Context;
use super::hash::tree::{Hashed, hash};
use super::out::{JsonName, Out, human};
use super::progress::Progress;
use place::Placer;
use work::{Target, Work};

/// Give exactly what a pointer points to
///
/// Finds the version with the snapshot id that the pointer FILE has, in whatever dataset of the store it is, and
/// puts its content at TARGET: files, directories, symbolic links and executable bits, owned as what cp makes.
/// What was put there is read again and its hash compared, and it is there as a whole or not at all. What is
/// there already is left alone if it is the same, and otherwise not replaced unless --force is given. Fails and
/// says what is missing where the store does not have that content.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata checkout data/imagenet.strata            # makes data/imagenet
  strata checkout --link imagenet.strata          # a symbolic link into the mount: no copy
  strata checkout imagenet.strata /scratch/imagenet --force")]
pub struct Args {
    /// Replace what is there and differs
    #[arg(long)]
    force: bool,
    /// Make a symbolic link to the version in the mount
    #[arg(long)]
    link: bool,
    /// Print a JSON object: target, dataset, version, snapshot, content, files, size, changed (whether it
    /// was not there before)
    #[arg(long)]
    json: bool,
    /// The pointer
    file: PathBuf,
    /// Where to put it [default: beside FILE, with its name without .strata]
    target: Option<PathBuf>,
}

#[derive(Serialize)]
struct CheckoutJson<'a> {
    target: &'a str,
    dataset: &'a str,
    version: &'a str,
    snapshot: String,
    content: &'a str,
    files: u64,
    size: u64,
    changed: bool,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let pointer = Pointer::read(&args.file)?;
    let target = match args.target {
        Some(target) => target,
        None => default_target(&args.file)?,
    };
    let place = Target::new(&target, &args.file, &context.store()?)?;
    let mut located = None;
    let changed = if args.link {
        let to = link_target(context, &pointer, &mut located)?;
        let there = place.is_link(&to);
        if !there {
            place.may_replace(args.force)?;
            Work::begin(&place)?.link(&to, args.force)?;
        }
        !there
    } else if place.is(&pointer).or_else(|failure| if args.force { Ok(false) } else { Err(failure) })? {
        find(context, &pointer, &mut located)?;
        false
    } else {
        place.may_replace(args.force)?;
        let work = Work::begin(&place)?;
        fetch(context, &pointer, &work, &mut located)?;
        work.put(args.force)?;
        true
    };
    let located = located.ok_or_else(|| Failure::new("internal error: nothing was found"))?;
    print(&pointer, &located, &target, changed, args.json)
}

fn default_target(file: &Path) -> Result<PathBuf, Failure> {
    let name = file.as_os_str().as_bytes().strip_suffix(EXTENSION.as_bytes());
    let name = name.filter(|name| !matches!(name.last(), None | Some(b'/')));
    let target = name.map(|name| std::ffi::OsString::from_vec(name.to_vec()).into());
    target.ok_or_else(|| {
        Failure::usage(format!(
            "say where to put it: the name of {} does not end in {EXTENSION}",
            file.display()
        ))
    })
}

/// Takes where something was found, and hands on all else.
struct Locating<'a, F> {
    located: &'a mut Option<Located>,
    placer: F,
}

impl<F: Sink> Sink for Locating<'_, F> {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        match item {
            Item::Located(located) => *self.located = Some(located),
            item => self.placer.item(item)?,
        }
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.placer.data(bytes)
    }
}

fn find(context: &Context, pointer: &Pointer, located: &mut Option<Located>) -> Result<(), Failure> {
    let mut client = context.client()?;
    let request = Request::Checkout { pointer: pointer.clone(), locate: true };
    client.run(request, &mut Locating { located, placer: Nowhere })?;
    client.close()
}

/// Where the mount shows what is pointed to.
fn link_target(
    context: &Context,
    pointer: &Pointer,
    located: &mut Option<Located>,
) -> Result<PathBuf, Failure> {
    find(context, pointer, located)?;
    let mounted = located.as_ref().and_then(|located| located.mounted.clone());
    let mut place = mounted.ok_or_else(|| {
        Failure::new(format!("no mount shows {}@{}, to make a link to", pointer.dataset, pointer.version))
            .hint("mount the store: strata mount MOUNTPOINT")
    })?;
    place.extend(pointer.path.iter().map(|name| std::ffi::OsStr::from_bytes(name.as_bytes())));
    Ok(place)
}

/// Writes what is pointed to where work is done, and checks it.
fn fetch(
    context: &Context,
    pointer: &Pointer,
    work: &Work<'_>,
    located: &mut Option<Located>,
) -> Result<(), Failure> {
    let mut client = context.client()?;
    let mut placer = Placer::new(work.content(), context.umask, pointer, interruption()?);
    let request = Request::Checkout { pointer: pointer.clone(), locate: false };
    client.run(request, &mut Locating { located, placer: &mut placer })?;
    client.close()?;
    let placed = placer.finish()?;
    let said = (pointer.files, pointer.size);
    if placed != said {
        return Err(Failure::new(format!(
            "the pointer contradicts itself: it says {} files with {} bytes, and what it points to has {} with {}",
            said.0, said.1, placed.0, placed.1
        ))
        .hint("it was changed by hand, or damaged: take it from git, or write it anew"));
    }
    let mut progress = Progress::default();
    progress.counting("checking what was written");
    if !work.holds(pointer)? {
        return Err(Failure::new("what was written is not what it reads back as")
            .hint("look after the disk, or for what changes files there"));
    }
    placer.go_on()?;
    work.sync()
}

/// Set by the first signal to end, so that what was begun is removed; the next one ends the process.
fn interruption() -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_default(signal, interrupted.clone())
            .and_then(|_| flag::register(signal, interrupted.clone()))
            .map_err(|e| Failure::because("cannot catch signals", &e))?;
    }
    Ok(interrupted)
}

/// Whether what is at `path` is what a pointer points to.
fn is_content(path: &Path, pointer: &Pointer) -> Result<bool, Failure> {
    Ok(match hash(path)? {
        Hashed::Tree(hash) => pointer.is_dir && hash.to_hex() == pointer.content,
        Hashed::File(id) => !pointer.is_dir && id.to_hex() == pointer.content,
    })
}

fn print(
    pointer: &Pointer,
    Located { dataset, version, .. }: &Located,
    target: &Path,
    changed: bool,
    json: bool,
) -> Result<u8, Failure> {
    let mut out = Out::new();
    if json {
        out.json(&CheckoutJson {
            target: &JsonName::of(target.as_os_str().as_bytes()).text,
            dataset,
            version,
            snapshot: pointer.snapshot.to_hex(),
            content: &pointer.content,
            files: pointer.files,
            size: pointer.size,
            changed,
        })?;
    } else {
        out.name(target.as_os_str().as_bytes())?;
        let (is, size) = (if changed { "is now" } else { "is already" }, human(pointer.size));
        let plural = if pointer.files == 1 { "" } else { "s" };
        out.text(format_args!(": {is} {dataset}@{version}, {} file{plural}, {size}\n", pointer.files))?;
    }
    out.flush()?;
    Ok(0)
}
