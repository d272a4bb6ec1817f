//! `strata import`

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use crate::daemon::protocol::CommitInfo;
use crate::daemon::{Failure, Item, Request};
use crate::dataset::bundle;
use crate::dataset::git::Repository;
use crate::model::DatasetName;

use super::out::{Out, ask, ask_with, count, human, one_line};
use super::progress::{Progress, Waiting};
use super::{Context, values};

/// Take a directory or archive into a dataset as one version
///
/// Puts what is in SOURCE into DATASET as `cp -a` would, but as one version and with all processors, and makes
/// that durable. A dataset of that name is made if there is none. Files whose size and time of change are those
/// of the file of that path in the newest version, and whose status (ctime) is older than when that was taken in,
/// are taken to be unchanged and are not read, unless --checksum is given. With --delete, what SOURCE does not
/// have goes away, so that the version is as SOURCE is.
/// Access control lists, and other attributes that a dataset cannot have, are left out, and it is told of how
/// many paths. It is taken in as a whole or not at all, also where something fails or the command is
/// interrupted. A directory must not change meanwhile: a file that does is taken in as it was read.
///
/// SOURCE can also be a tar archive (of any format, plain or compressed with gzip or zstd) or a zip archive. It
/// is read straight into the store, all of it each time. Owners are kept where root imports; else, and of zip
/// archives, all belongs to who imports. Of two members of one path the later counts. Members whose paths lead
/// out of the archive or mean a version are refused, and so is an archive that is cut short. Of a file that
/// `strata bundle` wrote, a new dataset is made, with all the versions in it; where DATASET has some of them,
/// the others are added to it. A bundle can also come through a pipe, with - for SOURCE: it is written to a
/// file without a name in the store's directory, checked, and then taken in.
///
/// With --history, SOURCE is a git repository, and each commit that changes the data becomes a version, oldest
/// first, along first parents. Pointers of git-lfs and DVC are replaced by their objects, which must be on this
/// machine (but for --skip-missing) and are checked. Each version is whole and durable at once; where an import
/// ends early, or when there are new commits, the same command goes on after the last. Of each commit the
/// message is kept, and as annotations git.commit, git.author and git.date; git's tags become tags. See
/// strata(7), Histories of git.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata import ~/images images
  strata import --delete -m 'July crawl' ~/crawl crawl
  strata import imagenet-v12.tar imagenet
  ssh there strata bundle pets -o - | strata import - pets
  strata import --history --path data/images.dvc ~/project images")]
pub struct Args {
    /// Remove from the dataset what SOURCE does not have
    #[arg(long)]
    delete: bool,
    /// Read all files, those that seem unchanged too
    #[arg(long)]
    checksum: bool,
    /// Print JSON: dataset, version (null if nothing had changed), newest, and attributes_left_out where access
    /// control lists or other attributes of so many paths were left out; with --history, a line for each commit:
    /// commit, author, date, message, version, changed, removed, bytes, tags, notices
    #[arg(long)]
    json: bool,
    /// Make a version of each commit of a git repository
    #[arg(long, conflicts_with_all = ["delete", "checksum", "message"])]
    history: bool,
    /// The branch whose history is imported
    #[arg(long, value_name = "REF", requires = "history", default_value = "HEAD")]
    branch: String,
    /// Import only this directory, file or .dvc file of the repository
    #[arg(long, value_name = "PATH", requires = "history")]
    path: Option<PathBuf>,
    /// Keep the pointers of git-lfs and DVC whose objects are not on this machine, rather than refuse
    #[arg(long, requires = "history")]
    skip_missing: bool,
    /// Only tell which commits would become versions
    #[arg(long, requires = "history")]
    dry_run: bool,
    /// What to say of the version
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// A directory, a tar or zip archive, or a bundle; - for a bundle on standard input
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The dataset
    #[arg(value_parser = values::dataset)]
    dataset: DatasetName,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let Args {
        delete,
        checksum,
        json,
        history,
        branch,
        path,
        skip_missing,
        dry_run,
        message,
        source,
        dataset,
    } = args;
    let shown = source.display().to_string();
    if let Some(input) = input(&source)? {
        if delete || history || message.is_some() {
            return Err(Failure::usage(
                "what comes through a pipe is a bundle, whose versions are what they are: no --message, --delete and \
                 --history",
            ));
        }
        let mut input = Counted { input, bytes: 0, progress: Progress::default() };
        let request = Request::Unbundle { dataset };
        // How much came is shown already.
        return ask_with(context.client()?, request, (&mut input, Waiting::default()), telling(json, true));
    }
    let source = source.canonicalize().map_err(|e| Failure::because(format!("cannot import {shown}"), &e))?;
    if history {
        let path = path.map(|path| path.components().filter(|part| *part != Component::CurDir).collect());
        let path = path.filter(|path: &PathBuf| !path.as_os_str().is_empty());
        let request = Request::ImportHistory { source, dataset, branch, path, skip_missing, dry_run };
        return run_history(request, json, context);
    }
    if Repository::is_one(&source) {
        eprintln!("strata: {shown} is a git repository: --history would import its commits as versions");
    }
    let is_bundle = bundle::is_one(&source)?;
    let request = Request::Import { source, dataset, message, delete, checksum };
    ask(context.client()?, request, telling(json, is_bundle))
}

/// What comes through a pipe: standard input, where `source` says so, or a pipe of a name.
fn input(source: &Path) -> Result<Option<Box<dyn Read>>, Failure> {
    if source == Path::new("-") {
        let input = io::stdin();
        return match input.is_terminal() {
            true => Err(Failure::usage("no bundle is read from a terminal")
                .hint("strata bundle DATASET -o - | strata import - DATASET")),
            false => Ok(Some(Box::new(input.lock()))),
        };
    }
    if !source.metadata().is_ok_and(|meta| meta.file_type().is_fifo()) {
        return Ok(None);
    }
    let failed = |e| Failure::because(format!("cannot import {}", source.display()), &e);
    File::open(source).map(|file| Some(Box::new(file) as Box<dyn Read>)).map_err(failed)
}

/// What comes through a pipe, with a line that shows how much came.
struct Counted {
    input: Box<dyn Read>,
    bytes: u64,
    progress: Progress,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        self.bytes += read as u64;
        match read {
            0 => self.progress.clear(),
            _ => self.progress.counting(&format!("{} received", human(self.bytes))),
        }
        Ok(read)
    }
}

/// Tells of an import.
fn telling(json: bool, is_bundle: bool) -> impl FnMut(&mut Out, Item) -> Result<(), Failure> {
    let mut progress = Progress::default();
    move |out, item| {
        match item {
            Item::Importing { .. } => show(&mut progress, &item),
            Item::Made(made) => {
                progress.clear();
                if made.attributes_left_out > 0 {
                    eprintln!(
                        "strata: access control lists or other attributes that a dataset cannot have are left out, of {}",
                        count(made.attributes_left_out, "path")
                    );
                }
                match &made.version {
                    _ if json => out.json(&made)?,
                    None if is_bundle => {
                        eprintln!(
                            "{}: its versions are all there already, up to {}",
                            made.dataset, made.newest
                        );
                    }
                    Some(version) => out.text(format_args!("{}: {version}\n", made.dataset))?,
                    None => eprintln!("{}: nothing changed since {}", made.dataset, made.since()),
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Shows how far an import is.
fn show(progress: &mut Progress, item: &Item) {
    match *item {
        Item::Importing { files_total, counted: false, .. } => {
            progress.counting(&format!("{files_total} files found"));
        }
        Item::Importing { files, files_total, bytes, bytes_total, .. } => {
            progress.show(bytes, bytes_total, &format!("{files} of {files_total} files"));
        }
        _ => {}
    }
}

fn run_history(request: Request, json: bool, context: &Context) -> Result<u8, Failure> {
    let mut progress = Progress::default();
    ask(context.client()?, request, |out, item| {
        match item {
            Item::Importing { .. } => show(&mut progress, &item),
            Item::Commit(commit) => {
                progress.clear();
                if json { out.json(&commit)? } else { print(out, &commit)? }
            }
            Item::Made(made) => {
                progress.clear();
                if made.objects_missing > 0 {
                    eprintln!(
                        "strata: {} of git-lfs or DVC not on this machine: the pointers stay in their place",
                        count(made.objects_missing, "object")
                    );
                }
                if !json && made.version.is_none() {
                    eprintln!("{}: no commit after that of {} changes it", made.dataset, made.newest);
                }
            }
            _ => {}
        }
        Ok(())
    })
}

fn print(out: &mut Out, commit: &CommitInfo) -> Result<(), Failure> {
    let CommitInfo { changed, removed, notices, .. } = commit;
    let short = commit.commit.get(..12).unwrap_or(&commit.commit);
    let subject = one_line(commit.message.lines().next().unwrap_or_default());
    notices.iter().for_each(|notice| eprintln!("{short}: {}", one_line(notice)));
    let tags: String = commit.tags.iter().map(|tag| format!(" @{}", one_line(tag))).collect();
    let size = human(commit.bytes);
    let version = commit.version.as_deref().unwrap_or("-");
    out.text(format_args!(
        "{version}{tags}  {short}  {changed} changed, {removed} removed, {size}  {subject}\n"
    ))
}
