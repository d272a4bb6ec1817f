//! The library that stands between the daemon and the C library (`shim.c`): builds it, and tells it which
//! calls to fail and what to record.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::run;

/// Classes of calls, as the library counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Class {
    /// write(2) and its kin.
    Write = 1,
    /// fsync(2), fdatasync(2), sync_file_range(2).
    Sync,
    /// open(2) and its kin, for creating, writing and reading.
    Open,
    /// rename(2) and its kin.
    Rename,
    /// unlink(2), mkdir(2), rmdir(2) and their kin.
    Names,
    /// ftruncate(2), fallocate(2).
    Size,
}

impl Class {
    pub const ALL: [Class; 6] =
        [Class::Write, Class::Sync, Class::Open, Class::Rename, Class::Names, Class::Size];
}

/// Calls to fail: those of a class from the `from`-th up to the `until`-th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub class: Class,
    pub from: u32,
    pub until: u32,
    /// The errno; 0 writes half of what was to be written.
    pub error: i32,
}

// Places in `struct control`.
const PID: u64 = 0;
const ARMED: u64 = 4;
const FAULT: u64 = 8;
const FIRED: u64 = 20;
const COUNT: u64 = 28;
const ONLY: u64 = 60;
const HIT: u64 = 188;

/// The library as set on one directory.
#[derive(Debug)]
pub struct Shim {
    root: PathBuf,
    control: PathBuf,
    shared: File,
    trace: Option<File>,
    trace_path: PathBuf,
}

impl Shim {
    /// For what happens below `root`; control block and trace are made in `beside`.
    pub fn new(root: &Path, beside: &Path, traced: bool) -> Shim {
        let (control, trace_path) = (beside.join("control"), beside.join("trace"));
        let shared = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&control);
        let shared = shared.expect("make the control block");
        shared.set_len(4096).expect("size the control block");
        let append = || OpenOptions::new().append(true).create(true).open(&trace_path);
        let trace = traced.then(|| append().expect("make the trace"));
        let root = root.canonicalize().expect("the directory is there");
        Shim { root, control, shared, trace, trace_path }
    }

    /// Has a command run with the library; of `strata mount`, the daemon it starts.
    pub fn on(&self, command: &mut Command, daemon: bool) {
        command
            .env("LD_PRELOAD", library())
            .env("STRATA_SHIM_ROOT", &self.root)
            .env("STRATA_SHIM_CONTROL", &self.control);
        if daemon {
            command.env("STRATA_SHIM_ONLY", "--daemon");
        }
        if self.trace.is_some() {
            command.env("STRATA_SHIM_TRACE", &self.trace_path);
        }
    }

    /// From now on only calls on paths that contain this count and fail.
    pub fn only(&self, part: &str) {
        let mut field = [0; 128];
        field[..part.len()].copy_from_slice(part.as_bytes());
        self.put(ONLY, &field);
    }

    /// Counts anew and has these calls fail.
    pub fn arm(&self, fault: Fault) {
        self.disarm();
        self.put(FIRED, &[0; 4]);
        self.put(COUNT, &[0; 28]);
        self.put(HIT, &[0; 256]);
        let Fault { class, from, until, error } = fault;
        for (i, value) in [from, until, error as u32].into_iter().enumerate() {
            self.put(FAULT + 4 * i as u64, &value.to_ne_bytes());
        }
        let times = (self.word(ARMED) >> 8) + 1;
        self.put(ARMED, &(times << 8 | class as u32).to_ne_bytes());
    }

    /// Has no more calls fail.
    pub fn disarm(&self) {
        self.put(ARMED, &(self.word(ARMED) & !0xff).to_ne_bytes());
    }

    /// How many calls were made to fail.
    pub fn fired(&self) -> u32 {
        self.word(FIRED)
    }

    /// The path of the first, below the directory.
    pub fn hit(&self) -> String {
        let mut field = [0; 256];
        self.shared.read_exact_at(&mut field, HIT).expect("read the control block");
        let len = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..len]).into_owned()
    }

    /// Calls of a class so far.
    pub fn count(&self, class: Class) -> u32 {
        self.word(COUNT + 4 * class as u64)
    }

    /// The process that had the library last, if any did.
    pub fn pid(&self) -> Option<i32> {
        Some(self.word(PID) as i32).filter(|pid| *pid != 0)
    }

    /// Puts a mark into the trace: everything before it had happened when this was called.
    pub fn mark(&self, text: &str) {
        let mut event = Vec::new();
        for word in [super::trace::MARK, 0, 0, 0, text.len() as u32, 0] {
            event.extend_from_slice(&word.to_ne_bytes());
        }
        event.extend_from_slice(text.as_bytes());
        let mut trace = self.trace.as_ref().expect("there is a trace");
        trace.write_all(&event).expect("write to the trace");
    }

    /// The trace so far.
    pub fn trace(&self) -> Vec<u8> {
        fs::read(&self.trace_path).expect("read the trace")
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.shared.write_all_at(bytes, at).expect("write the control block");
    }

    fn word(&self, at: u64) -> u32 {
        let mut bytes = [0; 4];
        self.shared.read_exact_at(&mut bytes, at).expect("read the control block");
        u32::from_ne_bytes(bytes)
    }
}

/// The library, built when it is first asked for. Where there is Rust, there is a C compiler: it links.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(dir).expect("make the directory for built files");
        // Under another name first: several test programs may be at it.
        let (built, named) = (dir.join(format!("shim-{}.so", std::process::id())), dir.join("shim.so"));
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-o"]);
        run(cc.arg(&built).arg(source).arg("-ldl")).ok();
        fs::rename(&built, &named).expect("name the built library");
        named
    })
}
