//! Plain copies of large files, which the kernel reads without asking.
//!
//! A file's bytes lie in packs in chunks, perhaps compressed: only the daemon can read them there. At the
//! first opening of a large file its chunks begin to be copied, in the background, to a file without a name
//! in the store's scratch directory; from a later opening on, the kernel is told to read that. Equal contents
//! share a copy. Copies take space on disk until the unmount, or the death of the daemon.
//!
//! - Every chunk of a copy was checked against its hash. A content with a damaged one gets no copy.
//! - A copy leaves the disk the reserve that written data leaves it.
//! - While some handle of a node is served by requests, further ones are too, and while some handle reads a
//!   copy, further ones do too: the kernel cannot have both.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::dataset::Repo;
use crate::model::{Content, ContentId};
use crate::store::error::chain;
use crate::store::{Result, content_id, data_size, scratch, write_out};

use super::nodes::NodeId;

/// Bytes from which on a file is large.
pub const LARGE: u64 = 16 << 20;

/// Where the kernel gets the bytes of an opened file from.
#[derive(Debug)]
pub enum Source {
    /// It asks for them.
    Requests,
    /// It asks for them, and a copy is to be made: to be given to [`Copies::make`] once the kernel knows the
    /// file, or else to be told of by [`Copies::give_up`].
    Wanted(Wanted),
    /// The finished copy of this content.
    Copy(ContentId),
}

/// A copy to be made.
#[derive(Debug)]
pub struct Wanted {
    /// Of what.
    pub id: ContentId,
    /// What is to hold it; empty yet.
    pub file: File,
    content: Content,
}

/// The copies of a mount, and the thread that makes them, in the order of opening.
#[derive(Debug)]
pub struct Copies {
    repo: Arc<Repo>,
    shared: Arc<Shared>,
    jobs: Option<Sender<Wanted>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// Set where no copies are to be made any more.
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    states: HashMap<ContentId, State>,
    open: HashMap<NodeId, Handles>,
    /// Data in finished copies.
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Making,
    Finished,
    /// There will be none.
    Failed,
}

/// The handles of a node that is open: all read its copy, or none.
#[derive(Debug)]
struct Handles {
    copy: Option<ContentId>,
    count: u64,
}

impl Copies {
    /// None yet.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(repo: Arc<Repo>) -> io::Result<Copies> {
        let (jobs, todo) = channel();
        let shared = Arc::new(Shared::default());
        let (of, with) = (repo.clone(), shared.clone());
        let thread = thread::Builder::new().name("copies".into()).spawn(move || work(&of, &with, &todo))?;
        Ok(Copies { repo, shared, jobs: Some(jobs), thread: Some(thread) })
    }

    /// Counts an opening of a node of this content, and tells how it is to be read.
    pub fn open(&self, node: NodeId, content: &Content) -> Source {
        let id = content_id(content);
        {
            let mut inner = self.shared.inner.lock();
            let state = inner.states.get(&id).copied();
            let finished = (state == Some(State::Finished)).then_some(id);
            let handles = inner.open.entry(node).or_insert(Handles { copy: finished, count: 0 });
            handles.count += 1;
            if let Some(id) = handles.copy {
                return Source::Copy(id);
            }
            if state.is_some() || self.shared.stopped.load(Ordering::Acquire) {
                return Source::Requests;
            }
            inner.states.insert(id, State::Making);
        }
        match scratch::unnamed(&self.repo.store().scratch_dir()) {
            Ok(file) => Source::Wanted(Wanted { id, file, content: content.clone() }),
            Err(error) => {
                self.shared.failed(id, &chain(&error));
                Source::Requests
            }
        }
    }

    /// Takes back an opening.
    pub fn close(&self, node: NodeId) {
        let mut inner = self.shared.inner.lock();
        if let Some(handles) = inner.open.get_mut(&node) {
            handles.count -= 1;
            if handles.count == 0 {
                inner.open.remove(&node);
            }
        }
    }

    /// Makes a copy as soon as those before it are made.
    pub fn make(&self, wanted: Wanted) {
        // The thread lives as long as this does: this cannot fail.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(wanted));
    }

    /// Makes no copies from now on, as the kernel does not take them.
    pub fn give_up(&self, why: &io::Error) {
        if !self.shared.stopped.swap(true, Ordering::AcqRel) {
            log::error!("large files are served without passthrough: {why}");
        }
    }

    /// Bytes that the finished copies hold.
    pub fn bytes(&self) -> u64 {
        self.shared.inner.lock().bytes
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread that makes plain copies panicked");
        }
    }
}

impl Shared {
    fn failed(&self, id: ContentId, why: &str) {
        log::warn!("no plain copy of content {id}, which is served as without --passthrough: {why}");
        self.inner.lock().states.insert(id, State::Failed);
    }
}

fn work(repo: &Repo, shared: &Shared, todo: &Receiver<Wanted>) {
    for wanted in todo {
        let made = catch_unwind(AssertUnwindSafe(|| make(repo, shared, &wanted)));
        let why = match made {
            Ok(Ok(Some(bytes))) => {
                let mut inner = shared.inner.lock();
                inner.states.insert(wanted.id, State::Finished);
                inner.bytes += bytes;
                continue;
            }
            Ok(Ok(None)) => continue,
            Ok(Err(error)) => chain(&error),
            Err(_) => "by a defect".into(),
        };
        // The kernel has the file still: what is in it is given back all the same.
        if let Err(error) = wanted.file.set_len(0) {
            log::warn!("giving back the space of a plain copy: {error}");
        }
        shared.failed(wanted.id, &why);
    }
}

/// Fills a copy; gives its bytes of data, or nothing where it is no longer wanted.
fn make(repo: &Repo, shared: &Shared, wanted: &Wanted) -> Result<Option<u64>> {
    let (store, objects) = (repo.store(), repo.objects());
    store.check_room(data_size(objects, &wanted.content)?)?;
    let mut bytes = 0;
    let whole = write_out(objects, &wanted.content, (&wanted.file, &store.scratch_dir()), |next| {
        store.check_room(next)?;
        bytes += next;
        Ok(!shared.stopped.load(Ordering::Acquire))
    })?;
    Ok(whole.then_some(bytes))
}
