//! The contents of the files of both sides, to be read anywhere.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::cli::progress::Progress;
use crate::daemon::object::parse_path;
use crate::daemon::protocol::EntryInfo;
use crate::daemon::{Client, Failure, Item, ObjectSpec, Request, Sink};
use crate::dataset::outside::Reach;
use crate::model::{Kind, Name};
use crate::table::Bytes;

use super::side::Side;

/// Most bytes that are asked for at a time.
const MOST: usize = 1 << 20;

/// A way to the store that readers share, and a line that tells how far they are.
#[derive(Clone)]
pub struct Contents {
    client: Arc<Mutex<Client>>,
    progress: Arc<Mutex<Progress>>,
}

impl Contents {
    /// Reads by way of `client`.
    pub fn new(client: Client) -> Contents {
        Contents { client: Arc::new(Mutex::new(client)), progress: Arc::default() }
    }

    /// Asks the store for something.
    pub fn run(&self, request: Request, sink: &mut dyn Sink) -> Result<u8, Failure> {
        self.client.lock().run(request, sink)
    }

    /// A side with its version by number, and what it is; see [`Side::pinned`].
    pub fn pinned(&self, side: Side, path: &[Name]) -> Result<(Side, Option<EntryInfo>), Failure> {
        side.pinned(&mut self.client.lock(), path)
    }

    /// Opens what is at a path of a side, if that is a file.
    pub fn open(&self, side: &Side, path: &[u8]) -> Result<Option<Opened>, Failure> {
        let mut id = None;
        let file = match side {
            Side::Outside(dir) => {
                let path = if path.is_empty() { dir.clone() } else { dir.join(OsStr::from_bytes(path)) };
                let failed = |e| Failure::because(format!("cannot read {}", path.display()), &e);
                let at = Reach::new(&path).map_err(failed)?;
                if !at.path().metadata().map_err(failed)?.is_file() {
                    return Ok(None);
                }
                Place::Outside(File::open(at.path()).map_err(failed)?)
            }
            Side::Object(_) => {
                let path = parse_path(OsStr::from_bytes(path)).map_err(Failure::new)?;
                match self.pinned(side.clone(), &path)? {
                    (Side::Object(object), Some(entry)) if entry.kind == Kind::File => {
                        id = entry.content;
                        Place::Stored { object, size: entry.size }
                    }
                    _ => return Ok(None),
                }
            }
        };
        let from = self.clone();
        Ok(Some(Opened { bytes: Arc::new(Content { from, file, name: side.name(path) }), id }))
    }

    /// Takes away the line that tells how far reading is.
    pub fn clear(&self) {
        self.progress.lock().clear();
    }

    /// Leaves the store in order.
    pub fn close(self) -> Result<(), Failure> {
        match Arc::into_inner(self.client) {
            Some(client) => client.into_inner().close(),
            None => Err(Failure::new("internal error: a file is still open")),
        }
    }
}

/// A file that is open.
pub struct Opened {
    /// Its bytes.
    pub bytes: Arc<dyn Bytes>,
    /// The id of its content, if it is one of a version.
    pub id: Option<String>,
}

/// A file of either side.
struct Content {
    from: Contents,
    file: Place,
    name: String,
}

enum Place {
    Outside(File),
    /// A file of a version.
    Stored {
        object: ObjectSpec,
        size: u64,
    },
}

impl Bytes for Content {
    fn size(&self) -> u64 {
        match &self.file {
            Place::Outside(file) => file.size(),
            Place::Stored { size, .. } => *size,
        }
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let size = self.size();
        // A small file is read before anybody could look.
        if size > MOST as u64 {
            self.from.progress.lock().show(offset.min(size), size, &format!("reading {}", self.name));
        }
        match &self.file {
            Place::Outside(file) => Bytes::read_at(file, offset, out),
            Place::Stored { object, .. } => {
                let len = out.len().min(MOST) as u64;
                let mut fill = Fill { out, filled: 0 };
                let request = Request::Read { object: object.clone(), offset, len };
                self.from.run(request, &mut fill).map_err(|failure| io::Error::other(failure.message))?;
                Ok(fill.filled)
            }
        }
    }
}

/// Fills a buffer.
struct Fill<'a> {
    out: &'a mut [u8],
    filled: usize,
}

impl Sink for Fill<'_> {
    fn item(&mut self, _: Item) -> Result<(), Failure> {
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let room = self.out.get_mut(self.filled..self.filled + bytes.len());
        room.ok_or_else(|| Failure::new("the daemon sent more than was asked for"))?.copy_from_slice(bytes);
        self.filled += bytes.len();
        Ok(())
    }
}
