//! What values of arguments there are, by the type of the argument.
//!
//! Each command's arguments say by their type what they take, so that commands need say nothing for their
//! completion: what takes a `DatasetName` is offered the datasets, what takes a `VersionText` the versions of
//! the dataset that is named before it.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use parking_lot::Mutex;

use crate::daemon::object::VersionText;
use crate::daemon::protocol::Item;
use crate::daemon::{Client, Failure, ObjectSpec, Request, Sink, mounts};
use crate::model::{DatasetName, Kind, TagName};
use crate::store::Store;

use super::super::diff::side::Side;
use super::super::mount::At;
use super::super::out::{count, one_line, short_time};
use super::super::store_dir;
use super::super::values::{DatasetPath, Setting};

/// Stands for the names of files, which the shell completes better itself.
pub const FILES: &str = "\0files";
/// The same of directories.
pub const DIRECTORIES: &str = "\0directories";
/// At most as many candidates of a kind; nobody reads more, and the newest versions come first.
const MOST: usize = 1000;

/// Has each argument know what it can be.
pub fn add(command: Command, names: &Arc<Names>) -> Command {
    let unmounts = command.get_name() == "umount";
    command
        .mut_args(|arg| match completer(&arg, unmounts) {
            Some(find) => {
                let names = names.clone();
                let complete = move |current: &OsStr| {
                    current.to_str().map(|current| find(&names, current)).unwrap_or_default()
                };
                arg.add(ArgValueCompleter::new(complete))
            }
            None => arg,
        })
        .mut_subcommands(|command| add(command, names))
}

type Find = fn(&Names, &str) -> Vec<CompletionCandidate>;

fn completer(arg: &Arg, unmounts: bool) -> Option<Find> {
    let takes = |id: TypeId| arg.get_value_parser().type_id() == id;
    if !arg.get_action().takes_values() {
        None
    } else if takes(TypeId::of::<DatasetName>()) {
        Some(Names::datasets)
    } else if takes(TypeId::of::<ObjectSpec>()) {
        Some(Names::objects)
    } else if takes(TypeId::of::<VersionText>()) {
        Some(|names, current| names.of_dataset(|dataset| names.versions(dataset, current)))
    } else if takes(TypeId::of::<At>()) {
        Some(|names, current| match current.contains(['/', '.']) {
            true => vec![CompletionCandidate::new(FILES)],
            false => names.of_dataset(|dataset| names.versions(dataset, current)),
        })
    } else if takes(TypeId::of::<TagName>()) {
        Some(|names, current| names.of_dataset(|dataset| names.tags(dataset, current)))
    } else if takes(TypeId::of::<DatasetPath>()) {
        Some(|names, current| names.of_dataset(|dataset| names.paths(dataset, current)))
    } else if takes(TypeId::of::<Side>()) {
        Some(|names, current| match current.starts_with(['/', '.']) {
            true => vec![CompletionCandidate::new(FILES)],
            false => names.objects(current),
        })
    } else if takes(TypeId::of::<Setting>()) {
        Some(|_, current| fixed(&SETTINGS, current))
    } else if takes(TypeId::of::<PathBuf>()) && unmounts && arg.get_id() == "mountpoint" {
        Some(|_, current| mountpoints(current))
    } else if takes(TypeId::of::<PathBuf>()) && ["store", "mountpoint"].contains(&arg.get_id().as_str()) {
        Some(|_, _| vec![CompletionCandidate::new(DIRECTORIES)])
    } else if takes(TypeId::of::<PathBuf>()) || takes(TypeId::of::<OsString>()) {
        Some(|_, _| vec![CompletionCandidate::new(FILES)])
    } else {
        None
    }
}

/// What settings begin with.
const SETTINGS: [&str; 7] = [
    "policy=every-write",
    "policy=settle=",
    "policy=manual",
    "retention=keep-last=",
    "retention=none",
    "quota=",
    "quota=none",
];

/// The names in the store that the command line is about.
pub struct Names {
    /// The words before the one that is completed.
    words: Vec<OsString>,
    client: Mutex<Option<Client>>,
}

impl Names {
    /// For a command line of which these words are complete.
    pub fn new(words: &[OsString]) -> Names {
        let client = store_of(words).ok().and_then(|store| {
            // Whoever presses a key does not want a store to be repaired that a crash left in disorder.
            Client::daemon(&store)
                .or_else(|failure| match Store::was_closed(&store) {
                    true => Client::open(&store),
                    false => Err(failure),
                })
                .ok()
        });
        Names { words: words.to_vec(), client: Mutex::new(client) }
    }

    /// Leaves the store in order.
    pub fn close(&self) {
        if let Some(client) = self.client.lock().take() {
            // What was looked at is no worse for it.
            drop(client.close());
        }
    }

    fn ask(&self, request: Request) -> Vec<Item> {
        let mut first = First(Vec::new());
        let mut client = self.client.lock();
        // A part of the answer is better than none; but what is left of it is in the way of the next.
        if client.as_mut().is_some_and(|client| client.run(request, &mut first).is_err()) {
            *client = None;
        }
        first.0
    }

    fn dataset_names(&self) -> Vec<(String, String)> {
        let of = |item| match item {
            Item::Dataset(info) => Some((info.name, count(info.versions, "version"))),
            _ => None,
        };
        self.ask(Request::Datasets).into_iter().filter_map(of).collect()
    }

    fn datasets(&self, current: &str) -> Vec<CompletionCandidate> {
        matching(self.dataset_names(), current)
    }

    /// `DATASET`, `DATASET@VERSION` or `DATASET[@VERSION]/PATH`, as far as it is written.
    fn objects(&self, current: &str) -> Vec<CompletionCandidate> {
        if let Some(end) = current.rfind('/') {
            let (dir, begun) = current.split_at(end + 1);
            let object = ObjectSpec::parse(OsStr::new(dir));
            return object.map(|object| prefixed(self.entries(object, begun), dir)).unwrap_or_default();
        }
        if let Some((dataset, begun)) = current.split_once('@') {
            let Ok(name) = DatasetName::new(dataset.as_bytes()) else { return Vec::new() };
            return prefixed(self.versions(&name, begun), &format!("{dataset}@"));
        }
        let names = self.dataset_names().into_iter();
        // Both, so that the shell does not take the word for finished.
        matching(names.flat_map(|(name, help)| [(format!("{name}@"), help.clone()), (name, help)]), current)
    }

    fn versions(&self, dataset: &DatasetName, current: &str) -> Vec<CompletionCandidate> {
        let mut found = self.tags(dataset, current);
        found.extend(fixed(&["latest", "prev"], current));
        let log = Request::Log {
            dataset: dataset.clone(),
            path: Vec::new(),
            follow: false,
            limit: Some(MOST as u64),
        };
        let of = |item| match item {
            // A pruned one can be named, but little more.
            Item::Version(entry) if entry.pruned.is_none() => {
                let what = entry.message.unwrap_or(entry.command);
                Some((entry.version, format!("{} {}", short_time(&entry.time), one_line(&what))))
            }
            _ => None,
        };
        found.extend(matching(self.ask(log).into_iter().filter_map(of), current));
        found
    }

    fn tags(&self, dataset: &DatasetName, current: &str) -> Vec<CompletionCandidate> {
        let of = |item| match item {
            Item::Tag(info) => Some((info.tag, info.version.unwrap_or_default())),
            _ => None,
        };
        let tags = self.ask(Request::Tags { dataset: dataset.clone(), history: false });
        matching(tags.into_iter().filter_map(of), current)
    }

    /// Paths from a dataset's root.
    fn paths(&self, dataset: &DatasetName, current: &str) -> Vec<CompletionCandidate> {
        let (dir, begun) = current.split_at(current.rfind('/').map_or(0, |at| at + 1));
        let object = ObjectSpec::parse(OsStr::new(&format!("{dataset}/{dir}")));
        object.map(|object| prefixed(self.entries(object, begun), dir)).unwrap_or_default()
    }

    fn entries(&self, dir: ObjectSpec, current: &str) -> Vec<CompletionCandidate> {
        let of = |item| match item {
            Item::Entry(entry) => {
                let name = String::from_utf8(entry.name).ok()?;
                let slash = if entry.kind == Kind::Dir { "/" } else { "" };
                Some((format!("{name}{slash}"), String::new()))
            }
            _ => None,
        };
        matching(self.ask(Request::List(dir)).into_iter().filter_map(of), current)
    }

    /// What there is of the dataset that the words before name first, or else the only one.
    fn of_dataset(
        &self,
        find: impl Fn(&DatasetName) -> Vec<CompletionCandidate>,
    ) -> Vec<CompletionCandidate> {
        let all: Vec<String> = self.dataset_names().into_iter().map(|(name, _)| name).collect();
        let words = self.words.iter().skip(2).filter_map(|word| word.to_str());
        let heads = words.map(|word| word.rsplit_once("--dataset=").map_or(word, |(_, name)| name));
        let mut heads = heads.map(|word| word.split(['@', '/']).next().unwrap_or_default());
        let named = heads.find(|head| all.iter().any(|name| name == head));
        let only = (all.len() == 1).then(|| all[0].as_str());
        let name = named.or(only).and_then(|name| DatasetName::new(name.as_bytes()).ok());
        name.map(|name| find(&name)).unwrap_or_default()
    }
}

/// The store that the command is about.
fn store_of(words: &[OsString]) -> Result<PathBuf, Failure> {
    let mut store = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--store" {
            store = words.next().map(PathBuf::from);
        } else if let Some(dir) = word.to_str().and_then(|word| word.strip_prefix("--store=")) {
            store = Some(dir.into());
        }
    }
    store_dir(store)
}

fn mountpoints(current: &str) -> Vec<CompletionCandidate> {
    let ours = mounts::list().unwrap_or_default().into_iter().filter_map(|mount| {
        let store = mount.store()?.display().to_string();
        Some((mount.point.to_str()?.to_owned(), store))
    });
    matching(ours, current)
}

fn fixed(values: &[&str], current: &str) -> Vec<CompletionCandidate> {
    matching(values.iter().map(|value| ((*value).to_owned(), String::new())), current)
}

/// Those that begin as the word does.
fn matching(values: impl IntoIterator<Item = (String, String)>, current: &str) -> Vec<CompletionCandidate> {
    let values = values.into_iter().filter(|(value, _)| value.starts_with(current));
    values
        .map(|(value, help)| CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into())))
        .collect()
}

fn prefixed(values: Vec<CompletionCandidate>, prefix: &str) -> Vec<CompletionCandidate> {
    values.into_iter().map(|value| value.add_prefix(prefix)).collect()
}

/// Takes the first items of an answer, and breaks it off then.
struct First(Vec<Item>);

impl Sink for First {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        if self.0.len() == MOST {
            return Err(Failure::reader_gone());
        }
        self.0.push(item);
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), Failure> {
        Err(Failure::reader_gone())
    }
}
