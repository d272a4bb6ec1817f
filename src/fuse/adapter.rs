//! FUSE requests: decode, call, reply.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, Notifier, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use parking_lot::RwLock;

use crate::dataset::{RenameMode, SetAttr, XattrSet};
use crate::model::Kind;
use crate::view::{FileSystem, SeekTo};

use super::answer::{
    caller, code, file_attr, file_type, look_up, node, reply_attr, reply_empty, reply_entry, reply_xattr,
    time, ttl,
};
use super::passthrough::Passthrough;
use super::pool::{Pool, THREADS};

/// Largest read and write request.
const MAX_IO: u32 = 1 << 20;
/// Requests the kernel may have under way in the background (read-ahead above all).
const MAX_BACKGROUND: u16 = 64;
/// From which place on the kernel forgets a file's pages, beside its attributes: all of them, or none.
const ALL: i64 = 0;
const ATTRIBUTES: i64 = -1;
/// Texts about versions that are made at a time: a few that read very much leave room for others.
const TEXT_THREADS: usize = 8;

/// What is asked of the kernel, where it has it.
const WANTED: [InitFlags; 9] = [
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_NO_OPEN_SUPPORT,
    InitFlags::FUSE_NO_OPENDIR_SUPPORT,
];

/// Serves the kernel's requests from a [`FileSystem`].
#[derive(Debug)]
pub struct Adapter {
    fs: Arc<FileSystem>,
    /// Held shared by each request until it is answered.
    gate: Arc<RwLock<()>>,
    /// Whether the kernel is to open files without asking.
    no_open: bool,
    /// Whether files that are only written are to go past the kernel's cache.
    past_cache: bool,
    passthrough: Passthrough,
    pool: Pool,
    /// For texts about versions, each of which may keep a thread busy for as long as it takes to read all files.
    texts: Pool,
    /// Set once there is a session.
    notifier: Arc<OnceLock<Notifier>>,
}

impl Adapter {
    /// An adapter that holds `gate` shared while it serves a request, and tells the kernel by `notifier` of
    /// what is undone.
    pub fn new(
        fs: Arc<FileSystem>,
        gate: Arc<RwLock<()>>,
        notifier: Arc<OnceLock<Notifier>>,
    ) -> io::Result<Adapter> {
        let no_open = fs.is_pinned() && fs.copies().is_none();
        let passthrough = Passthrough::default();
        Ok(Adapter {
            fs,
            gate,
            no_open,
            past_cache: false,
            passthrough,
            pool: Pool::start(THREADS)?,
            texts: Pool::start(TEXT_THREADS)?,
            notifier,
        })
    }

    /// Whether a file opened with these flags goes past the kernel's cache, which one that is only written does:
    /// nothing is copied there, which for large files takes longer than all else that writing costs, and small ones
    /// take one request less (whether they have capabilities to lose). Kernels before 6.6 would go on to show others
    /// what they had cached of it.
    fn is_past_cache(&self, open_flags: i32) -> bool {
        self.past_cache && open_flags & libc::O_ACCMODE == libc::O_WRONLY
    }

    /// How the kernel is to cache a file opened with these flags.
    fn cached(&self, open_flags: i32) -> FopenFlags {
        match self.is_past_cache(open_flags) {
            true => FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_DIRECT_IO,
            false => FopenFlags::FOPEN_KEEP_CACHE,
        }
    }

    /// Has the kernel forget a file's attributes and pages, once the requests under way are answered.
    fn forget_cached(&self, ino: INodeNo) {
        let (gate, notifier) = (self.gate.clone(), self.notifier.clone());
        self.pool.run(move || {
            drop(gate.write());
            forget(&notifier, ino, ALL);
        });
    }

    /// Runs a handler; if it panics, its reply is dropped, which answers EIO.
    fn serve(&self, what: &str, handler: impl FnOnce(&FileSystem)) {
        serve(&self.fs, &self.gate, what, handler);
    }

    /// Runs a handler that may take long, on a thread of its own.
    fn serve_slow(&self, what: &'static str, handler: impl FnOnce(&FileSystem) + Send + 'static) {
        let (fs, gate) = (self.fs.clone(), self.gate.clone());
        self.pool.run(move || serve(&fs, &gate, what, handler));
    }

    /// Runs a handler that may need a text about a version, on a thread of its own if so. The text is made before,
    /// without holding up whoever waits for the requests under way.
    fn serve_text(
        &self,
        what: &'static str,
        (id, name): (INodeNo, Option<&OsStr>),
        handler: impl FnOnce(&FileSystem) + Send + 'static,
    ) {
        let name = name.map(OsStr::as_bytes);
        if !self.fs.may_take_long(node(id), name) {
            return self.serve(what, handler);
        }
        let (fs, gate, name) = (self.fs.clone(), self.gate.clone(), name.map(<[u8]>::to_vec));
        self.texts.run(move || {
            if catch_unwind(AssertUnwindSafe(|| fs.prepare(node(id), name.as_deref()))).is_ok() {
                serve(&fs, &gate, what, handler);
            }
        });
    }
}

fn forget(notifier: &OnceLock<Notifier>, ino: INodeNo, from: i64) {
    if let Some(Err(error)) = notifier.get().map(|notifier| notifier.inval_inode(ino, from, 0)) {
        log::debug!("kernel did not forget node {}: {error}", ino.0);
    }
}

fn serve(fs: &FileSystem, gate: &RwLock<()>, what: &str, handler: impl FnOnce(&FileSystem)) {
    let _under_way = gate.read_recursive();
    let guarded = || {
        #[cfg(test)]
        super::tests::panic_if_asked(what);
        handler(fs);
    };
    if catch_unwind(AssertUnwindSafe(guarded)).is_err() {
        log::error!("a {what} request failed by a defect; the mount lives on");
    }
}

thread_local! {
    /// Where a read is put together before it is handed to the kernel.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in WANTED {
            if config.add_capabilities(flag).is_err() {
                log::debug!("the kernel does not have {flag:?}");
            }
        }
        self.past_cache = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP).is_ok();
        // These only fail for values out of range, and then the default stays.
        let _ = config.set_max_write(MAX_IO);
        let _ = config.set_max_background(MAX_BACKGROUND);
        if self.fs.copies().is_some() { Passthrough::request(config) } else { Ok(()) }
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let by = caller(request);
        if self.fs.is_slow(node(parent)) {
            let sought = name.to_owned();
            return self.serve_slow("lookup", move |fs| look_up(fs, by, parent, &sought, reply));
        }
        if !self.fs.may_take_long(node(parent), Some(name.as_bytes())) {
            return self.serve("lookup", |fs| look_up(fs, by, parent, name, reply));
        }
        let sought = name.to_owned();
        self.serve_text("lookup", (parent, Some(name)), move |fs| look_up(fs, by, parent, &sought, reply));
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.serve("forget", |fs| fs.forget(node(ino), count));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.serve_text("getattr", (ino, None), move |fs| {
            reply_attr("getattr", reply, node(ino), fs.getattr(node(ino)))
        });
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let by = caller(request);
        let (atime, mtime) = (atime.map(time), mtime.map(time));
        self.serve("setattr", |fs| {
            let change = || {
                if let Some(size) = size {
                    fs.truncate(by, node(ino), fh.map(|fh| fh.0), size)?;
                }
                let asked = mode.is_some() || uid.is_some() || gid.is_some();
                if asked || atime.is_some() || mtime.is_some() || size.is_none() {
                    fs.set_attr(by, node(ino), &SetAttr { mode, uid, gid, atime, mtime })?;
                }
                fs.getattr(node(ino))
            };
            reply_attr("setattr", reply, node(ino), change());
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        self.serve("readlink", |fs| match fs.readlink(node(ino)) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(code("readlink", &error)),
        });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let kind = match mode & libc::S_IFMT {
            libc::S_IFREG | 0 => Kind::File,
            libc::S_IFIFO => Kind::Fifo,
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFCHR => Kind::CharDevice,
            libc::S_IFBLK => Kind::BlockDevice,
            _ => return reply.error(Errno::EINVAL),
        };
        self.serve("mknod", |fs| {
            let made = fs.mknod(caller(request), node(parent), name.as_bytes(), kind, mode, rdev);
            reply_entry("mknod", reply, made);
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.serve("mkdir", |fs| {
            reply_entry("mkdir", reply, fs.mkdir(caller(request), node(parent), name.as_bytes(), mode));
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve("unlink", |fs| {
            reply_empty("unlink", reply, fs.unlink(caller(request), node(parent), name.as_bytes()));
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve("rmdir", |fs| {
            reply_empty("rmdir", reply, fs.rmdir(caller(request), node(parent), name.as_bytes()));
        });
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        self.serve("symlink", |fs| {
            let made = fs.symlink(caller(request), node(parent), name.as_bytes(), target);
            reply_entry("symlink", reply, made);
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mode = if flags.is_empty() {
            RenameMode::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            RenameMode::NoReplace
        } else if flags == RenameFlags::RENAME_EXCHANGE {
            RenameMode::Exchange
        } else {
            return reply.error(Errno::EINVAL);
        };
        let (from, to) = ((node(parent), name.as_bytes()), (node(new_parent), new_name.as_bytes()));
        self.serve("rename", |fs| reply_empty("rename", reply, fs.rename(caller(request), from, to, mode)));
    }

    fn link(&self, request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.serve("link", |fs| {
            let made = fs.link(caller(request), node(ino), node(parent), name.as_bytes());
            reply_entry("link", reply, made);
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if self.no_open {
            return reply.error(Errno::ENOSYS);
        }
        let (by, passthrough, how) = (caller(request), self.passthrough.clone(), self.cached(flags.0));
        self.serve_text("open", (ino, None), move |fs| match fs.open(by, node(ino), flags.0) {
            Ok(opened) => passthrough.answer(fs, opened, how, reply),
            Err(error) => reply.error(code("open", &error)),
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.serve("read", |fs| {
            BUFFER.with_borrow_mut(|buffer| {
                let size = size as usize;
                if buffer.len() < size {
                    buffer.resize(size, 0);
                }
                match fs.read(node(ino), fh.0, offset, &mut buffer[..size]) {
                    Ok(len) => reply.data(&buffer[..len]),
                    Err(error) => reply.error(code("read", &error)),
                }
            });
        });
    }

    fn write(
        &self,
        request: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let cached = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let drop_privileges = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let (by, written) = (caller(request), data.len() as u32);
        // The kernel asks for an fsync after what goes through its cache, and not after what goes past it.
        let synchronous = flags.0 & libc::O_DSYNC != 0 && self.is_past_cache(flags.0);
        let mut waits = None;
        self.serve("write", |fs| match fs.write(by, fh.0, offset, data, cached, drop_privileges) {
            Err(error) => reply.error(code("write", &error)),
            Ok(()) if !synchronous => {
                reply.written(written);
                // While the program gets the next bytes.
                fs.work_ahead(fh.0);
            }
            Ok(()) => waits = Some(reply),
        });
        // Only now: who hands over may have to wait for those that wait for the requests under way.
        if let Some(reply) = waits {
            self.serve_slow("write", move |fs| match fs.fsync(by, fh.0) {
                Ok(()) => reply.written(written),
                Err(error) => reply.error(code("write", &error)),
            });
        }
    }

    fn flush(&self, request: &Request, _: INodeNo, fh: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        if self.no_open {
            return reply.error(Errno::ENOSYS);
        }
        self.serve("flush", |fs| reply_empty("flush", reply, fs.flush(caller(request), fh.0)));
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let mut given_up = false;
        self.serve("release", |fs| {
            given_up = fs.release(caller(request), fh.0);
            reply.ok();
        });
        if given_up {
            self.forget_cached(ino);
        }
    }

    fn fsync(&self, request: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        let by = caller(request);
        self.serve_slow("fsync", move |fs| reply_empty("fsync", reply, fs.fsync(by, fh.0)));
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.fs.is_pinned() {
            return reply.error(Errno::ENOSYS);
        }
        let (by, dir) = (caller(request), node(ino));
        let open = move |fs: &FileSystem| match fs.opendir(by, dir) {
            Ok((fh, cacheable)) => {
                let cached = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
                reply.opened(FileHandle(fh), if cacheable { cached } else { FopenFlags::empty() });
            }
            Err(error) => reply.error(code("opendir", &error)),
        };
        if self.fs.is_slow(dir) { self.serve_slow("opendir", open) } else { self.serve("opendir", open) }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.serve("readdir", |fs| {
            let listed = fs.list(node(ino), fh.0, offset, &mut |e| {
                let kind = file_type(e.entry.attr.kind);
                let full = reply.add(INodeNo(e.entry.node.0), e.position, kind, OsStr::from_bytes(e.name));
                if !full && e.position > 2 {
                    // Unlike readdirplus, this is no look-up.
                    fs.forget(e.entry.node, 1);
                }
                !full
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(code("readdir", &error)),
            }
        });
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.serve("readdirplus", |fs| {
            let listed = fs.list(node(ino), fh.0, offset, &mut |e| {
                let attr = file_attr(e.entry.node, &e.entry.attr);
                let ttl = ttl(e.entry.lifetime);
                let (ino, name) = (INodeNo(e.entry.node.0), OsStr::from_bytes(e.name));
                !reply.add(ino, e.position, name, &ttl, &attr, Generation(0))
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(code("readdirplus", &error)),
            }
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.serve("releasedir", |fs| {
            fs.releasedir(fh.0);
            reply.ok();
        });
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.serve_slow("fsyncdir", move |fs| reply_empty("fsyncdir", reply, fs.fsync_dir(node(ino))));
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        // What a quota leaves may have to be counted.
        self.serve_slow("statfs", move |fs| match fs.statfs(node(ino)) {
            Ok(s) => reply.statfs(
                s.f_blocks,
                s.f_bfree,
                s.f_bavail,
                s.f_files,
                s.f_ffree,
                s.f_bsize as u32,
                crate::model::name::NAME_MAX as u32,
                s.f_frsize as u32,
            ),
            Err(error) => reply.error(code("statfs", &error)),
        });
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let how = match flags {
            libc::XATTR_CREATE => XattrSet::Create,
            libc::XATTR_REPLACE => XattrSet::Replace,
            _ => XattrSet::Any,
        };
        self.serve("setxattr", |fs| {
            let set = fs.set_xattr(caller(request), node(ino), name.as_bytes(), value, how);
            if set.is_ok() && FileSystem::is_permissions(name.as_bytes()) {
                // The kernel does not look for them again by itself. Answers to requests from before are void.
                forget(&self.notifier, ino, ATTRIBUTES);
            }
            reply_empty("setxattr", reply, set);
        });
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let (by, name) = (caller(request), name.as_bytes());
        if !FileSystem::is_virtual_xattr(name) {
            return self.serve("getxattr", |fs| {
                reply_xattr("getxattr", reply, size, fs.get_xattr(by, node(ino), name));
            });
        }
        let name = name.to_vec();
        self.serve_slow("getxattr", move |fs| {
            reply_xattr("getxattr", reply, size, fs.get_xattr(by, node(ino), &name));
        });
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.serve("listxattr", |fs| reply_xattr("listxattr", reply, size, fs.list_xattr(node(ino))));
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve("removexattr", |fs| {
            reply_empty("removexattr", reply, fs.remove_xattr(caller(request), node(ino), name.as_bytes()));
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        self.serve("create", |fs| {
            match fs.create(caller(request), node(parent), name.as_bytes(), mode, flags) {
                Ok((entry, opened)) => reply.created(
                    &ttl(entry.lifetime),
                    &file_attr(entry.node, &entry.attr),
                    Generation(0),
                    FileHandle(opened.fh),
                    self.cached(flags),
                ),
                Err(error) => reply.error(code("create", &error)),
            }
        });
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        // Programs ask any file whether it is a terminal.
        reply.error(Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        request: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.serve("fallocate", |fs| {
            let done = fs.fallocate(caller(request), fh.0, mode, offset, length);
            reply_empty("fallocate", reply, done);
        });
    }

    fn lseek(&self, _: &Request, ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let to = match whence {
            libc::SEEK_DATA => SeekTo::Data,
            libc::SEEK_HOLE => SeekTo::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        self.serve("lseek", |fs| match fs.seek(node(ino), fh.0, offset, to) {
            Ok(Some(found)) => reply.offset(found as i64),
            Ok(None) => reply.error(Errno::ENXIO),
            Err(error) => reply.error(code("lseek", &error)),
        });
    }

    fn copy_file_range(
        &self,
        request: &Request,
        _: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        // The reply's length has 32 bits.
        let len = len.min(u64::from(!4095u32));
        let (from, to) = ((fh_in.0, offset_in), (fh_out.0, offset_out));
        self.serve("copy_file_range", |fs| match fs.copy_range(caller(request), from, to, len) {
            Ok(copied) => reply.written(copied as u32),
            Err(error) => reply.error(code("copy_file_range", &error)),
        });
    }
}
