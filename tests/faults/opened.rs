//! What a store that was opened says: its log, its datasets, its files.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use stratafs::dataset::verify::{Known, verify_dataset};
use stratafs::dataset::{Caller, Error, Repo, Result};
use stratafs::model::{Kind, Policy, VersionNo};
use stratafs::store::{Error as StoreError, RecordKind};
use stratafs::view::{FileSystem, NodeId, Scope};

use super::recording::{PRUNED, State};
use super::script::{Node, Tree};

/// What the versions that are kept hold, by number.
pub type Versions = BTreeMap<u64, Tree>;

/// A dataset as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub policy: Policy,
    pub tree: Tree,
    /// Only where they are looked at.
    pub versions: Versions,
}

impl Settings {
    pub fn state(&self) -> State {
        State { tree: self.tree.clone(), policy: self.policy, versions: self.versions.clone() }
    }
}

/// A store as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Hashes of all records but chunks and nodes, in the order of the log: the ids of versions among
    /// them.
    pub log: Vec<[u8; 32]>,
    pub datasets: BTreeMap<String, Settings>,
}

/// Opens a store as a mount does, with nobody's help, and reads and verifies everything in it.
pub fn open(store: &Path) -> Result<Opened, String> {
    let text = |error: Error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    };
    let repo = open_repo(store).map_err(text)?;
    look(&Arc::new(repo)).map_err(text)?
}

/// Opens a store. A process that another test starts meanwhile has this one's files, and with them the lock of
/// a store that was just closed, until it runs its program: such a lock is waited for.
pub fn open_repo(store: &Path) -> Result<Repo> {
    let own = std::process::id();
    let mut opened = Repo::open(store, false);
    for _ in 0..3000 {
        match &opened {
            Err(Error::Store(StoreError::InUse { pid, .. })) if *pid == own => {
                thread::sleep(Duration::from_millis(10));
                opened = Repo::open(store, false);
            }
            _ => break,
        }
    }
    opened
}

fn look(repo: &Arc<Repo>) -> Result<Result<Opened, String>> {
    let store = repo.store();
    let mut opened = Opened::default();
    store.each_record(
        |_| false,
        |header, _, _| {
            if !header.kind.is_object() && !matches!(header.kind, RecordKind::Footer | RecordKind::Void) {
                opened.log.push(header.hash);
            }
            Ok(())
        },
    )?;
    let verdict = store.verify(|_| ControlFlow::Continue(()))?;
    if !verdict.damages.is_empty() {
        return Ok(Err(format!("verifying finds {:?}", verdict.damages)));
    }
    for dataset in repo.datasets() {
        let mut findings = vec![];
        let damaged = Default::default();
        let known = Known::new(store, &damaged);
        verify_dataset(&dataset, known, &mut |finding| {
            findings.push(finding);
            Ok::<_, Error>(())
        })?;
        if !findings.is_empty() {
            return Ok(Err(format!("verifying {} finds {findings:?}", dataset.name())));
        }
        let settings = Settings { policy: dataset.policy(), tree: Tree::new(), versions: Versions::new() };
        opened.datasets.insert(dataset.name().to_string(), settings);
    }
    let fs = FileSystem::new(repo.clone(), Scope::Store, true);
    for (name, settings) in &mut opened.datasets {
        let root = fs.lookup(Caller::default(), NodeId::ROOT, name.as_bytes())?;
        walk(&fs, root.node, name, &mut settings.tree)?;
        if name != PRUNED {
            continue;
        }
        let dataset = repo.dataset(name)?;
        for number in (1..=dataset.newest().0).filter(|number| !dataset.is_pruned(VersionNo(*number))) {
            let version = fs.lookup(Caller::default(), root.node, format!("@v{number}").as_bytes())?;
            walk(&fs, version.node, name, settings.versions.entry(number).or_default())?;
        }
    }
    Ok(Ok(opened))
}

fn walk(fs: &FileSystem, dir: NodeId, path: &str, tree: &mut Tree) -> Result<()> {
    let (fh, _) = fs.opendir(Caller::default(), dir)?;
    let mut entries = vec![];
    fs.list(dir, fh, 0, &mut |entry| {
        if !matches!(entry.name, b"." | b"..") {
            entries.push((String::from_utf8_lossy(entry.name).into_owned(), entry.entry));
        }
        true
    })?;
    fs.releasedir(fh);
    for (name, entry) in entries {
        let path = format!("{path}/{name}");
        if entry.attr.kind == Kind::Dir {
            tree.insert(path.clone(), Node::Dir);
            walk(fs, entry.node, &path, tree)?;
            continue;
        }
        let by = Caller { uid: 0, gid: 0, pid: 0 };
        let opened = fs.open(by, entry.node, libc::O_RDONLY)?;
        let mut bytes = vec![0; entry.attr.size as usize + 1];
        let read = fs.read(entry.node, opened.fh, 0, &mut bytes);
        fs.release(by, opened.fh);
        let node = match read {
            Err(Error::Store(StoreError::Missing(what))) if what.contains("purged") => Node::Purged,
            read => {
                bytes.truncate(read?);
                Node::File(bytes)
            }
        };
        tree.insert(path, node);
    }
    Ok(())
}
