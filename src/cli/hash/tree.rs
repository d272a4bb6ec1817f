//! Hashing an ordinary directory tree as a dataset with its content is hashed.
//!
//! One thread walks the tree and puts hashes together; others hash files. Held in memory are the
//! directories whose hash is not complete: those on the way to where the walk is, and their siblings.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use parking_lot::Mutex;

use crate::daemon::Failure;
use crate::dataset::live::child_id;
use crate::dataset::outside::{Reach, device_of, kind_of};
use crate::dataset::trie::{ChildId, Slot, Trie};
use crate::model::{Body, Content, ContentId, Ino, Kind, Name, TreeHash};
use crate::store::content::from_file;
use crate::store::{Objects, content_id};

/// Files that wait to be hashed.
const QUEUE: usize = 256;
/// Most threads that hash files.
const THREADS_MAX: usize = 8;

/// What was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashed {
    /// A directory tree.
    Tree(TreeHash),
    /// A file.
    File(ContentId),
}

/// Hashes what is at `path`.
pub fn hash(path: &Path) -> Result<Hashed, Failure> {
    let meta = Reach::new(path).and_then(|at| fs::metadata(at.path()));
    let meta = meta.map_err(|e| failed("hash", path, &e))?;
    if meta.is_file() {
        return Ok(Hashed::File(content_id(&hash_file(&Objects::hash_only(), path)?)));
    }
    if !meta.is_dir() {
        return Err(Failure::new(format!("{} is neither a directory nor a file", path.display())));
    }
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let (jobs, queue) = mpsc::sync_channel(QUEUE);
    let (answers, done) = mpsc::channel();
    let (queue, stop) = (Mutex::new(queue), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..threads {
            let (queue, answers, stop) = (&queue, answers.clone(), &stop);
            scope.spawn(move || work(queue, &answers, stop));
        }
        drop(answers);
        let walked = Walk { jobs: Some(jobs), done, dirs: HashMap::new(), next: 0, root: None }.run(path);
        stop.store(true, Ordering::Release);
        walked.map(Hashed::Tree)
    })
}

/// A file to hash, and the place in its directory that waits for it.
struct Job {
    path: PathBuf,
    mode: u32,
    place: (usize, usize),
}

struct Answer {
    place: (usize, usize),
    id: Result<ChildId, Failure>,
}

fn work(queue: &Mutex<Receiver<Job>>, answers: &Sender<Answer>, stop: &AtomicBool) {
    let objects = Objects::hash_only();
    loop {
        let job = queue.lock().recv();
        let Ok(job) = job else { return };
        if stop.load(Ordering::Acquire) {
            return;
        }
        let id = hash_file(&objects, &job.path).map(|content| child_id(&Body::File(content), job.mode));
        if answers.send(Answer { place: job.place, id }).is_err() {
            return;
        }
    }
}

fn hash_file(objects: &Objects, path: &Path) -> Result<Content, Failure> {
    let file = Reach::new(path).and_then(|at| File::open(at.path())).map_err(|e| failed("read", path, &e))?;
    Ok(from_file(objects, path, &file)?)
}

/// A directory whose hash is not complete.
#[derive(Default)]
struct Dir {
    trie: Trie,
    ids: Vec<Option<ChildId>>,
    /// Entries whose id is not known yet, and one for the listing itself.
    waiting: usize,
    parent: Option<(usize, usize)>,
}

struct Walk {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Answer>,
    dirs: HashMap<usize, Dir>,
    next: usize,
    root: Option<TreeHash>,
}

impl Walk {
    fn run(mut self, path: &Path) -> Result<TreeHash, Failure> {
        let mut todo = vec![(path.to_owned(), self.begin(None))];
        while let Some((path, dir)) = todo.pop() {
            self.list(&path, dir, &mut todo)?;
            while let Ok(answer) = self.done.try_recv() {
                self.take(answer)?;
            }
        }
        self.jobs = None;
        while self.root.is_none() {
            let lost = |_| Failure::new("internal error: a hashing thread ended early");
            let answer = self.done.recv().map_err(lost)?;
            self.take(answer)?;
        }
        self.root.ok_or_else(|| Failure::new("internal error: no hash"))
    }

    fn begin(&mut self, parent: Option<(usize, usize)>) -> usize {
        self.next += 1;
        self.dirs.insert(self.next, Dir { waiting: 1, parent, ..Dir::default() });
        self.next
    }

    fn list(&mut self, path: &Path, dir: usize, todo: &mut Vec<(PathBuf, usize)>) -> Result<(), Failure> {
        let at = Reach::new(path).map_err(|e| failed("list", path, &e))?;
        for entry in fs::read_dir(at.path()).map_err(|e| failed("list", path, &e))? {
            let entry = entry.map_err(|e| failed("list", path, &e))?;
            let path = path.join(entry.file_name());
            let meta = entry.metadata().map_err(|e| failed("inspect", &path, &e))?;
            let kind = kind_of(&meta);
            let name = Name::new(entry.file_name().as_bytes())
                .map_err(|e| Failure::because(format!("cannot hash {}", path.display()), &e))?;
            let place = (dir, self.add(dir, name, kind));
            match kind {
                Kind::Dir => todo.push((path, self.begin(Some(place)))),
                Kind::File => self.enqueue(Job { path, mode: meta.mode(), place })?,
                Kind::Symlink => {
                    let target = Reach::new(&path).and_then(|at| fs::read_link(at.path()));
                    let target = target.map_err(|e| failed("read", &path, &e))?;
                    let body = Body::Symlink(target.as_os_str().as_bytes().into());
                    self.settle(place, child_id(&body, 0))?;
                }
                kind => self.settle(place, child_id(&Body::Special(kind, device_of(&meta)), 0))?,
            }
        }
        self.less_waiting(dir)
    }

    /// Adds an entry whose id is yet to come; gives its place in the directory.
    fn add(&mut self, dir: usize, name: Name, kind: Kind) -> usize {
        let dir = self.dirs.entry(dir).or_default();
        let at = dir.ids.len();
        dir.ids.push(None);
        dir.waiting += 1;
        dir.trie.insert(Slot { key: name.key(), name, ino: Ino(at as u64), kind });
        at
    }

    fn enqueue(&mut self, job: Job) -> Result<(), Failure> {
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(job));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(Failure::new("internal error: the hashing threads ended early")),
        }
    }

    fn take(&mut self, answer: Answer) -> Result<(), Failure> {
        self.settle(answer.place, answer.id?)
    }

    fn settle(&mut self, (dir, at): (usize, usize), id: ChildId) -> Result<(), Failure> {
        if let Some(slot) = self.dirs.get_mut(&dir).and_then(|dir| dir.ids.get_mut(at)) {
            *slot = Some(id);
        }
        self.less_waiting(dir)
    }

    /// One thing less is waited for; completes the directory, and with it perhaps those above.
    fn less_waiting(&mut self, mut dir: usize) -> Result<(), Failure> {
        loop {
            let Some(waiting) = self.dirs.get_mut(&dir) else { return Ok(()) };
            waiting.waiting -= 1;
            if waiting.waiting > 0 {
                return Ok(());
            }
            let Some(mut complete) = self.dirs.remove(&dir) else { return Ok(()) };
            let ids = complete.ids;
            let hash = complete.trie.hash(&mut |slot: &Slot| {
                let id = usize::try_from(slot.ino.0).ok().and_then(|at| ids.get(at).copied().flatten());
                id.ok_or_else(|| Failure::new("internal error: an entry has no id"))
            })?;
            let Some((parent, at)) = complete.parent else {
                self.root = Some(hash);
                return Ok(());
            };
            let id = ChildId { tag: ChildId::TAG_DIR, hash: hash.0 };
            if let Some(slot) = self.dirs.get_mut(&parent).and_then(|dir| dir.ids.get_mut(at)) {
                *slot = Some(id);
            }
            dir = parent;
        }
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::because(format!("cannot {what} {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(path: &Path) -> String {
        match hash(path).unwrap() {
            Hashed::Tree(hash) => hash.to_hex(),
            Hashed::File(id) => id.to_hex(),
        }
    }

    #[test]
    fn the_id_follows_from_content_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let make = |root: &Path, order: &mut dyn Iterator<Item = u32>| {
            fs::create_dir_all(root.join("deep/er/empty")).unwrap();
            for n in order {
                fs::write(root.join(format!("deep/f{n}")), vec![n as u8; n as usize * 1000]).unwrap();
            }
            std::os::unix::fs::symlink("f1", root.join("link")).unwrap();
        };
        make(&a, &mut (0..400));
        make(&b, &mut (0..400).rev());
        let whole = id(&a);
        assert_eq!(whole, id(&b));
        fs::write(b.join("deep/f7"), "other").unwrap();
        assert_ne!(whole, id(&b));
    }

    #[test]
    fn an_empty_tree_and_a_small_file_have_known_ids() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert_eq!(id(&empty), TreeHash::of(&[0]).to_hex(), "an empty leaf");
        let file = dir.path().join("file");
        fs::write(&file, "abc").unwrap();
        assert_eq!(id(&file), blake3::hash(b"abc").to_hex().as_str());
    }

    #[test]
    fn what_cannot_be_hashed_is_named() {
        let failure = hash(Path::new("/no/such/dir")).unwrap_err();
        assert!(failure.message.contains("/no/such/dir"), "{}", failure.message);
        assert!(hash(Path::new("/dev/null")).unwrap_err().message.contains("/dev/null"));
    }

    #[test]
    fn deep_trees_have_the_id_of_the_same_nearer_by() {
        let dir = tempfile::tempdir().unwrap();
        let (mut far, name) = (dir.path().to_owned(), "n".repeat(250));
        let near = dir.path().join("near");
        let make = |root: &Path| {
            fs::create_dir_all(root.join("d/e")).unwrap();
            fs::write(root.join("d/e/f"), "far away").unwrap();
            std::os::unix::fs::symlink("f", root.join("d/e/link")).unwrap();
        };
        make(&near);
        make(&far.join("tree"));
        // Each move takes it a level down, where no path need be long.
        for level in 0..40 {
            let below = dir.path().join(format!("{level}-{name}"));
            fs::create_dir(&below).unwrap();
            let inner = if level == 0 { "tree".into() } else { format!("{}-{name}", level - 1) };
            fs::rename(dir.path().join(&inner), below.join(inner)).unwrap();
            far = below;
        }
        for level in (0..39).rev() {
            far.push(format!("{level}-{name}"));
        }
        assert!(far.as_os_str().len() > 10_000);
        assert_eq!(id(&far.join("tree")), id(&near));
        // Its removal by path would fail.
        for level in (0..40).rev() {
            let inner = if level == 0 { "tree".into() } else { format!("{}-{name}", level - 1) };
            let outer = dir.path().join(format!("{level}-{name}"));
            fs::rename(outer.join(&inner), dir.path().join(inner)).unwrap();
            fs::remove_dir(outer).unwrap();
        }
    }

    #[test]
    fn deep_trees_need_no_deep_stack() {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().to_owned();
        for _ in 0..1_000 {
            path.push("d");
        }
        fs::create_dir_all(&path).unwrap();
        assert_eq!(id(dir.path()).len(), 64);
    }
}
