//! Threads for requests that wait for the disk or hash whole files, so that the few that serve the
//! kernel's queue are always free for the quick ones.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use parking_lot::Mutex;

/// Threads for what waits for the disk: as many may wait for one sync, which they share.
pub const THREADS: usize = 8;
/// Jobs that may wait; beyond, whoever brings one waits too.
const QUEUE: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. They end when it is dropped and its jobs are done.
#[derive(Debug)]
pub struct Pool(SyncSender<Job>);

impl Pool {
    /// Starts the threads.
    pub fn start(threads: usize) -> io::Result<Pool> {
        let (sender, receiver) = sync_channel::<Job>(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        for n in 0..threads {
            let receiver = receiver.clone();
            thread::Builder::new().name(format!("slow-{n}")).spawn(move || work(&receiver))?;
        }
        Ok(Pool(sender))
    }

    /// Runs a job as soon as a thread is free.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        // The threads live as long as the pool: this cannot fail, and if it did, the job would be
        // dropped, which answers its request with an error.
        let _ = self.0.send(Box::new(job));
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}
