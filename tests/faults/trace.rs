//! The record of what a process did to the files below a directory, as `shim.c` writes it.

/// A mark of the test's own in the trace.
pub const MARK: u32 = 11;

/// What happened. Paths are from the directory on; handles are those of opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A file or directory was opened, with these flags.
    Open {
        handle: u32,
        flags: i32,
        path: String,
    },
    Write {
        handle: u32,
        at: u64,
        bytes: Vec<u8>,
    },
    Size {
        handle: u32,
        size: u64,
    },
    /// A sync began; what was written from here on may not be in it.
    Sync {
        handle: u32,
    },
    /// It ended, with this errno, or well.
    Synced {
        handle: u32,
        error: i32,
    },
    Rename {
        from: String,
        to: String,
    },
    Unlink {
        path: String,
    },
    Mkdir {
        path: String,
    },
    Rmdir {
        path: String,
    },
    /// The test says this.
    Mark(String),
}

/// Decodes a trace.
pub fn events(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = vec![];
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_at(24);
        let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let at = u64::from_ne_bytes(header[8..16].try_into().expect("eight bytes"));
        let (kind, handle) = (word(0), word(4));
        let (a, rest) = rest.split_at(word(16) as usize);
        let (b, rest) = rest.split_at(word(20) as usize);
        bytes = rest;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("names are UTF-8");
        events.push(match kind {
            1 => Event::Open { handle, flags: at as i32, path: text(a) },
            2 => Event::Write { handle, at, bytes: a.to_vec() },
            3 => Event::Size { handle, size: at },
            4 => Event::Sync { handle },
            5 => Event::Synced { handle, error: at as i32 },
            6 => Event::Rename { from: text(a), to: text(b) },
            7 => Event::Unlink { path: text(a) },
            8 => Event::Mkdir { path: text(a) },
            9 => Event::Rmdir { path: text(a) },
            MARK => Event::Mark(text(a)),
            _ => panic!("the trace is not whole: {} was used on the store", text(a)),
        });
    }
    events
}
