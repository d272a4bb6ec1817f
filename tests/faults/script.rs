//! What is done to a mount while calls fail or are recorded: the operations, doing them, and what each
//! means for the files there are.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::harness::command::{Ran, run};

/// One operation. Paths begin with the name of a dataset.
#[derive(Clone, Debug)]
pub enum Op {
    /// Makes a directory; at the top, a dataset.
    Mkdir(&'static str),
    /// Writes a whole file; with fsync(2) before close(2), or without.
    Write(&'static str, Vec<u8>, bool),
    /// Writes into a file, at these offsets, with one open and close; with fsync(2), or without.
    Edit(&'static str, Vec<(u64, Vec<u8>)>, bool),
    Rename(&'static str, &'static str),
    Unlink(&'static str),
    /// Removes a directory; at the top, archives a dataset.
    Rmdir(&'static str),
    /// `strata set DATASET policy=…`
    Policy(&'static str, &'static str),
    /// `strata commit DATASET`
    Commit(&'static str),
    /// Notes the dataset's files and version, for [`Op::Rollback`].
    Remember(&'static str),
    /// `strata rollback DATASET` to what was noted.
    Rollback(&'static str),
    /// `strata tag DATASET NAME`, of the newest version.
    Tag(&'static str, &'static str),
    /// `strata compact`, which changes this dataset as little as any other.
    Compact(&'static str),
    /// `strata prune DATASET` but for so many of its newest versions, and what has a tag.
    Prune(&'static str, u64),
    /// `strata gc`, with `--all` or without, which changes this dataset as little as any other.
    Gc(&'static str, bool),
    /// `strata purge` of a file that is there no more.
    Purge(&'static str),
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Dir,
    File(Vec<u8>),
    /// A file that was purged: reading it fails.
    Purged,
}

/// What there is, by path.
pub type Tree = BTreeMap<String, Node>;

impl Op {
    /// The dataset concerned.
    pub fn dataset(&self) -> &'static str {
        let path = match self {
            Op::Mkdir(path) | Op::Write(path, ..) | Op::Edit(path, ..) => path,
            Op::Unlink(path) | Op::Rmdir(path) | Op::Purge(path) => path,
            Op::Rename(from, _) => from,
            Op::Policy(ds, _) | Op::Tag(ds, _) | Op::Commit(ds) | Op::Remember(ds) => ds,
            Op::Rollback(ds) | Op::Compact(ds) | Op::Prune(ds, _) | Op::Gc(ds, _) => ds,
        };
        path.split('/').next().unwrap_or(path)
    }

    /// Whether success means that all before is durable.
    pub fn syncs(&self) -> bool {
        let by_sync = matches!(self, Op::Write(_, _, true) | Op::Edit(_, _, true));
        by_sync || matches!(self, Op::Commit(_) | Op::Policy(..) | Op::Tag(..)) || self.is_retention()
    }

    /// Whether it gives up something of the history, or its space: done again, it comes to the same.
    pub fn is_retention(&self) -> bool {
        matches!(self, Op::Prune(..) | Op::Gc(..) | Op::Purge(_))
    }

    /// Whether it makes a version, of a dataset whose policy is `every-write`.
    pub fn makes_version(&self) -> bool {
        match self {
            Op::Write(..) | Op::Edit(..) | Op::Rename(..) | Op::Unlink(_) | Op::Rollback(_) => true,
            Op::Mkdir(path) | Op::Rmdir(path) => *path != self.dataset(),
            _ => false,
        }
    }

    /// The paths whose state it changes; a rollback changes all that was noted or is there now.
    pub fn paths(&self, tree: &Tree, noted: &Tree) -> Vec<String> {
        match self {
            Op::Mkdir(path)
            | Op::Rmdir(path)
            | Op::Write(path, ..)
            | Op::Edit(path, ..)
            | Op::Unlink(path) => {
                vec![(*path).to_owned()]
            }
            Op::Rename(from, to) => vec![(*from).to_owned(), (*to).to_owned()],
            Op::Rollback(ds) => {
                let all = tree.keys().chain(noted.keys());
                all.filter(|path| is_within(path, ds)).cloned().collect()
            }
            _ => vec![],
        }
    }

    /// What there is once it is done.
    pub fn apply(&self, tree: &mut Tree, noted: &Tree) {
        match self {
            Op::Mkdir(path) => drop(tree.insert((*path).to_owned(), Node::Dir)),
            Op::Write(path, bytes, _) => drop(tree.insert((*path).to_owned(), Node::File(bytes.clone()))),
            Op::Edit(path, writes, _) => {
                let Some(Node::File(bytes)) = tree.get_mut(*path) else { panic!("{path} is no file") };
                for (at, new) in writes {
                    let (from, to) = (*at as usize, *at as usize + new.len());
                    bytes.resize(bytes.len().max(to), 0);
                    bytes[from..to].copy_from_slice(new);
                }
            }
            Op::Rename(from, to) => {
                let node = tree.remove(*from).unwrap_or_else(|| panic!("{from} is not there"));
                tree.insert((*to).to_owned(), node);
            }
            Op::Unlink(path) | Op::Rmdir(path) => drop(tree.remove(*path)),
            Op::Rollback(ds) => {
                tree.retain(|path, _| !is_within(path, ds));
                tree.extend(noted.iter().filter(|(path, _)| is_within(path, ds)).map(own));
            }
            _ => {}
        }
    }

    /// Does it. `strata` gives a command on the store; `version` is what a rollback goes back to.
    pub fn run(&self, point: &Path, strata: impl Fn(&[&str]) -> Command, version: &str) -> io::Result<()> {
        let told = |arguments: &[&str]| said(&run(&mut strata(arguments)));
        match self {
            Op::Mkdir(path) => fs::create_dir(point.join(path)),
            Op::Write(path, bytes, sync) => {
                let file = File::create(point.join(path))?;
                finish(file, *sync, |mut file| file.write_all(bytes))
            }
            Op::Edit(path, writes, sync) => {
                let file = OpenOptions::new().write(true).open(point.join(path))?;
                finish(file, *sync, |file| {
                    writes.iter().try_for_each(|(at, bytes)| file.write_all_at(bytes, *at))
                })
            }
            Op::Rename(from, to) => fs::rename(point.join(from), point.join(to)),
            Op::Rmdir(path) => fs::remove_dir(point.join(path)),
            Op::Unlink(path) => fs::remove_file(point.join(path)),
            Op::Policy(ds, policy) => told(&["set", ds, &format!("policy={policy}")]),
            Op::Compact(_) => told(&["compact"]),
            Op::Tag(ds, name) => told(&["tag", ds, name]),
            Op::Commit(ds) => told(&["commit", ds, "-m", "a commit"]),
            Op::Remember(_) => Ok(()),
            Op::Rollback(ds) => told(&["rollback", ds, version]),
            Op::Prune(ds, last) => told(&["prune", ds, "--keep-last", &last.to_string()]),
            Op::Gc(_, true) => told(&["gc", "--all"]),
            Op::Gc(_, false) => told(&["gc"]),
            Op::Purge(path) => {
                let (ds, path) = path.split_once('/').expect("a path in a dataset");
                told(&["purge", ds, path, "--reason", "a test"])
            }
        }
    }
}

/// Whether a path is in a dataset, and not the dataset itself.
pub fn is_within(path: &str, dataset: &str) -> bool {
    path.strip_prefix(dataset).is_some_and(|rest| rest.starts_with('/'))
}

fn own((path, node): (&String, &Node)) -> (String, Node) {
    (path.clone(), node.clone())
}

/// Writes, syncs if wanted, and closes, seeing the error of close(2) too.
fn finish(file: File, sync: bool, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let written = write(&file).and_then(|()| if sync { file.sync_all() } else { Ok(()) });
    let closed = close(file);
    written.and(closed)
}

#[allow(unsafe_code)]
fn close(file: File) -> io::Result<()> {
    use std::os::fd::IntoRawFd;
    let fd = file.into_raw_fd();
    // SAFETY: the descriptor was the file's, which gave it up: nobody else closes or uses it.
    match unsafe { libc::close(fd) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A command's failure as an error; it must say something, and end with 1.
fn said(ran: &Ran) -> io::Result<()> {
    match ran.code {
        Some(0) => Ok(()),
        Some(1) if ran.stderr.starts_with("strata: ") => Err(io::Error::other(ran.stderr.clone())),
        _ => panic!("{} ended with {:?} and said '{}'", ran.what, ran.code, ran.stderr),
    }
}

/// What there is in a mount, read through it. A file that cannot be read is an error.
pub fn read_tree(point: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut todo = vec![String::new()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(point.join(&dir))? {
            let entry = entry?;
            let name = entry.file_name().into_string().expect("names are UTF-8");
            let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let node = if entry.file_type()?.is_dir() {
                todo.push(path.clone());
                Node::Dir
            } else {
                Node::File(fs::read(point.join(&path))?)
            };
            tree.insert(path, node);
        }
    }
    Ok(tree)
}
