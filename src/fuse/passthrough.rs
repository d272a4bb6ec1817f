//! Files that the kernel reads from their plain copies, without asking.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use fuser::{BackingId, FileHandle, FopenFlags, InitFlags, KernelConfig, ReplyOpen};
use parking_lot::Mutex;

use crate::model::ContentId;
use crate::view::{Copies, FileSystem, Opened, Source, Wanted};

/// As what the kernel knows the copies. They are its to read until this is dropped, or the mount ends.
#[derive(Clone, Debug, Default)]
pub struct Passthrough(Arc<Mutex<HashMap<ContentId, Arc<BackingId>>>>);

impl Passthrough {
    /// Asks the kernel for passthrough.
    ///
    /// # Errors
    /// Where it has none.
    pub fn request(config: &mut KernelConfig) -> io::Result<()> {
        // The copies are on a file system that is not itself stacked upon another.
        let asked = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok();
        if asked && config.set_max_stack_depth(1).is_ok() {
            return Ok(());
        }
        Err(io::Error::other(
            "the kernel has no FUSE passthrough (Linux has it from 6.9 on, if so configured)",
        ))
    }

    /// Answers an opening; `flags` are for a file that lies in the store.
    pub fn answer(&self, fs: &FileSystem, opened: Opened, mut flags: FopenFlags, reply: ReplyOpen) {
        if opened.generated {
            flags = FopenFlags::FOPEN_DIRECT_IO;
        }
        if opened.quiet_close {
            flags |= FopenFlags::FOPEN_NOFLUSH;
        }
        if let Source::Copy(id) = opened.source {
            let backing = self.0.lock().get(&id).cloned();
            if let Some(backing) = backing {
                // The kernel refuses other flags with it, and there is no cache of its own to keep.
                let flags = flags & FopenFlags::FOPEN_NOFLUSH;
                return reply.opened_passthrough(FileHandle(opened.fh), flags, &backing);
            }
        }
        if let (Source::Wanted(wanted), Some(copies)) = (opened.source, fs.copies()) {
            self.register(copies, wanted, &reply);
        }
        reply.opened(FileHandle(opened.fh), flags);
    }

    /// Makes a copy known to the kernel while it is empty, so that it is not made in vain.
    fn register(&self, copies: &Copies, wanted: Wanted, reply: &ReplyOpen) {
        match reply.open_backing(&wanted.file) {
            Ok(backing) => {
                self.0.lock().insert(wanted.id, Arc::new(backing));
                copies.make(wanted);
            }
            Err(error) => copies.give_up(&error),
        }
    }
}
