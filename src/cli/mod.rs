//! The command line: one file for each command, each parses, asks, prints.
//!
//! Data goes to standard output, talk to standard error. Exit codes: 0 done, 1 failed or not found,
//! 2 called wrongly, 3 damage found, 4 damage found and repaired.

mod annotate;
mod batch;
mod blame;
mod bump;
mod bundle;
mod cat;
mod change;
mod checkout;
mod commit;
mod compact;
mod complete;
mod completions;
mod datasets;
mod diff;
mod doctor;
mod export;
mod fsck;
mod gc;
mod hash;
mod import;
mod init;
mod log;
mod ls;
mod meta;
mod mount;
mod mount_helper;
mod out;
mod pin;
mod pointer;
mod prefetch;
mod progress;
mod prune;
mod purge;
mod release;
mod rollback;
mod set;
mod show;
mod status;
mod tag;
mod tags;
mod umount;
mod unpin;
mod untag;
mod values;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::daemon::{Client, Failure, logging};

const ABOUT: &str = "A filesystem that gives training data a memory";

const LONG_ABOUT: &str = "\
strata mounts a store in which every completed write to a dataset makes a new version of it, and in \
which any path can be read as of any version, for ever. Each directory at the top of the mount is a \
dataset; inside are ordinary files. Data that is the same is kept once, across files, versions and \
datasets.";

const EXAMPLE: &str = "\
Example:
  strata mount /data                      # makes a store, mounts it
  cp -r ~/images /data/images             # a dataset; each file that is closed is a version
  echo cat > /data/images/labels.txt
  ls /data/images/@history                # all versions
  cat /data/images/@v3/labels.txt         # any path as of any version; @2026-11-01 works too
  strata rollback images v3               # a new version that is as v3 was

The store is --store DIR, else STRATA_STORE, else $XDG_DATA_HOME/stratafs or ~/.local/share/stratafs.
Versions are written v3, v3~1, latest, prev, a hash of 8 or more digits, 2026-11-01,
2026-11-01T10-30-00Z, a tag, or a range of tags such as 1.x; see strata(7).
Exit codes: 0 done, 1 failed or not found, 2 called wrongly, 3 damage found, 4 damage found and repaired.";

/// The `strata` command line.
#[derive(Debug, Parser)]
#[command(name = "strata", version, about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLE)]
#[command(max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// Directory of the store [default: $STRATA_STORE, else the user's data directory]
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Whether output is coloured: where it goes to a terminal, TERM is not dumb and NO_COLOR is not set; always; or
    /// never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    color: clap::ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Mount(mount::Args),
    Umount(umount::Args),
    Status(status::Args),
    Datasets(datasets::Args),
    Log(log::Args),
    Show(show::Args),
    Diff(diff::Args),
    Blame(blame::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Prefetch(prefetch::Args),
    Import(import::Args),
    Export(export::Args),
    Bundle(bundle::Args),
    Tag(tag::Args),
    Untag(untag::Args),
    Tags(tags::Args),
    Release(release::Args),
    Bump(bump::Args),
    Pointer(pointer::Args),
    Checkout(checkout::Args),
    Annotate(annotate::Args),
    Meta(meta::Args),
    Pin(pin::Args),
    Unpin(unpin::Args),
    Prune(prune::Args),
    Gc(gc::Args),
    Purge(purge::Args),
    Set(set::Args),
    Commit(commit::Args),
    Batch(batch::Args),
    Rollback(rollback::Args),
    Verify(verify::Args),
    Compact(compact::Args),
    Fsck(fsck::Args),
    Hash(hash::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Complete(complete::Args),
}

/// What all commands have in common.
struct Context {
    store: Option<PathBuf>,
    /// The permission bits that the user does not want on what is made outside of the store.
    umask: u32,
}

impl Context {
    /// The store's directory, as an absolute path.
    fn store(&self) -> Result<PathBuf, Failure> {
        store_dir(self.store.clone())
    }

    /// A way to the store.
    fn client(&self) -> Result<Client, Failure> {
        Client::open(&self.store()?)
    }
}

/// The store's directory: as given, or where it is by default.
fn store_dir(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = || env("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let home = || env("HOME").map(|home| home.join(".local/share"));
    let given = given.or_else(|| env("STRATA_STORE"));
    let store = given.or_else(|| data().or_else(home).map(|data| data.join("stratafs")));
    let store = store.ok_or_else(|| {
        Failure::usage("no store: HOME is not set").hint("say where it is by --store DIR or STRATA_STORE")
    })?;
    std::path::absolute(&store)
        .map_err(|e| Failure::because(format!("cannot use the store {}", store.display()), &e))
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match mount_helper::translate(std::env::args_os().collect()) {
        Ok(Some(arguments)) => Cli::parse_from(arguments),
        Ok(None) => return ExitCode::SUCCESS,
        Err(failure) => {
            drop(tell(&failure));
            return failure.code.into();
        }
    };
    if !matches!(cli.command, Command::Mount(_)) {
        logging::start(::log::LevelFilter::Warn);
    }
    // What is made in a store is its owner's alone; a batch makes nothing there itself, and what its command
    // makes is to have the permissions that the user wants.
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if matches!(cli.command, Command::Batch(_)) {
        rustix::process::umask(umask);
    }
    out::choose_color(cli.color);
    let context = Context { store: cli.store, umask: umask.as_raw_mode() };
    let done = match cli.command {
        Command::Init(args) => init::run(args, &context),
        Command::Mount(args) => mount::run(args, &context),
        Command::Umount(args) => umount::run(args),
        Command::Status(args) => status::run(args, &context),
        Command::Datasets(args) => datasets::run(args, &context),
        Command::Log(args) => log::run(args, &context),
        Command::Show(args) => show::run(args, &context),
        Command::Diff(args) => diff::run(args, &context),
        Command::Blame(args) => blame::run(args, &context),
        Command::Ls(args) => ls::run(args, &context),
        Command::Cat(args) => cat::run(args, &context),
        Command::Prefetch(args) => prefetch::run(args, &context),
        Command::Import(args) => import::run(args, &context),
        Command::Export(args) => export::run(args, &context),
        Command::Bundle(args) => bundle::run(args, &context),
        Command::Tag(args) => tag::run(args, &context),
        Command::Untag(args) => untag::run(args, &context),
        Command::Tags(args) => tags::run(args, &context),
        Command::Release(args) => release::run(args, &context),
        Command::Bump(args) => bump::run(args, &context),
        Command::Pointer(args) => pointer::run(args, &context),
        Command::Checkout(args) => checkout::run(args, &context),
        Command::Annotate(args) => annotate::run(args, &context),
        Command::Meta(args) => meta::run(args, &context),
        Command::Pin(args) => pin::run(args, &context),
        Command::Unpin(args) => unpin::run(args, &context),
        Command::Prune(args) => prune::run(args, &context),
        Command::Gc(args) => gc::run(args, &context),
        Command::Purge(args) => purge::run(args, &context),
        Command::Set(args) => set::run(args, &context),
        Command::Commit(args) => commit::run(args, &context),
        Command::Batch(args) => batch::run(args, &context),
        Command::Rollback(args) => rollback::run(args, &context),
        Command::Verify(args) => verify::run(args, &context),
        Command::Compact(args) => compact::run(args, &context),
        Command::Fsck(args) => fsck::run(args, &context),
        Command::Hash(args) => hash::run(args),
        Command::Doctor(args) => doctor::run(args, &context),
        Command::Completions(args) => completions::run(args),
        Command::Complete(args) => complete::run(args),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => {
            // There is nowhere to complain of a closed standard error.
            drop(tell(&failure));
            failure.code.into()
        }
    }
}

fn tell(failure: &Failure) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    if !failure.message.is_empty() {
        writeln!(stderr, "strata: {}", failure.message)?;
    }
    match &failure.hint {
        Some(hint) => writeln!(stderr, "hint: {hint}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
