//! The paths that differ between two sides, and where their files are.

use crate::cli::progress::Waiting;
use crate::daemon::object::path_bytes;
use crate::daemon::protocol::ChangeInfo;
use crate::daemon::{Failure, Item, Request, Sink};
use crate::dataset::ChangeKind;
use crate::model::{Kind, Name};
use crate::table::Format;

use super::contents::Contents;
use super::outside;
use super::side::Side;
use super::within::format;

/// Takes changes as they come, each also as it is printed.
pub type Each<'a> = &'a mut dyn FnMut(&ChangeInfo, &ChangeInfo) -> Result<(), Failure>;

/// What differs between two sides.
pub struct Found {
    /// The paths, ordered; but those that were handed out as they came.
    pub changes: Vec<ChangeInfo>,
    /// Why parts of a directory outside are left out.
    pub unread: Vec<Failure>,
    /// What the paths are told from, with versions by number.
    bases: [Side; 2],
    /// The path from there that was asked for.
    asked: Vec<u8>,
}

impl Found {
    /// Finds what differs at or below `path`. Where it is more than one path, all are handed out to `each`, if that
    /// is given: there may be more of them than can be held.
    pub fn new(
        contents: &Contents,
        sides: [Side; 2],
        path: &[Name],
        each: Option<Each<'_>>,
    ) -> Result<Found, Failure> {
        let [before, after] = sides;
        let ((before, entry_before), (after, entry_after)) =
            (contents.pinned(before, path)?, contents.pinned(after, path)?);
        match (&before, &after) {
            (Side::Object(a), Side::Object(b)) => {
                let (mut bases, mut asked) = ([before.clone(), after.clone()], Vec::new());
                // Told from the datasets' roots, where what is compared has the same path.
                if a.path == b.path {
                    asked = path_bytes(&a.path);
                    for base in &mut bases {
                        if let Side::Object(object) = base {
                            object.path.clear();
                        }
                    }
                }
                let request = Request::Diff { before: a.clone(), after: b.clone(), path: Vec::new() };
                let waiting = Waiting::new("comparing");
                let mut changes =
                    Changes { held: Vec::new(), after: &bases[1], each, are_many: false, waiting };
                contents.run(request, &mut changes)?;
                Ok(Found { changes: changes.held, unread: Vec::new(), bases, asked })
            }
            (Side::Object(object), Side::Outside(dir)) => {
                let compared = outside::compare(contents, object, entry_before, dir)?;
                Ok(Found::outside(compared, [before, after]))
            }
            (Side::Outside(dir), Side::Object(object)) => {
                let mut compared = outside::compare(contents, object, entry_after, dir)?;
                compared.changes.iter_mut().for_each(turn);
                compared.changes.sort_by(|a, b| a.path.cmp(&b.path));
                Ok(Found::outside(compared, [before, after]))
            }
            (Side::Outside(_), Side::Outside(_)) => Err(Failure::usage("neither of the two is in a dataset")
                .hint(
                    "compare DATASET[@VERSION][/PATH] with a directory; for two directories there is diff -r",
                )),
        }
    }

    fn outside(compared: outside::Compared, bases: [Side; 2]) -> Found {
        Found { changes: compared.changes, unread: compared.unread, bases, asked: Vec::new() }
    }

    /// The side and path of what a change is about, before (0) or after (1), if what is there may be a file of
    /// other content than on the other side.
    pub fn file<'a>(&'a self, change: &'a ChangeInfo, at: usize) -> Option<(&'a Side, &'a [u8])> {
        let path = if at == 0 { change.from.as_ref().unwrap_or(&change.path) } else { &change.path };
        let is_there = if at == 0 { change.size_before } else { change.size_after }.is_some();
        let kind = if at == 0 { change.kind_before.unwrap_or(change.kind) } else { change.kind };
        let is_file = kind == Kind::File && change.change != ChangeKind::Attributes;
        (is_there && is_file).then_some((&self.bases[at], path.as_slice()))
    }

    /// The name of what was compared itself, before (0) or after (1).
    pub fn base_name(&self, at: usize) -> &[u8] {
        self.bases[at].file_name()
    }

    /// A change as it is printed: with a path, also where it is what was compared itself.
    pub fn shown(&self, change: &ChangeInfo) -> ChangeInfo {
        shown(change, &self.bases[1])
    }

    /// Whether what was asked for is one file, a table by its name or what it begins with.
    pub fn is_one_table(&self, contents: &Contents) -> bool {
        let [change] = self.changes.as_slice() else { return false };
        // Below what was asked for, there would be more to its path.
        let is_asked = change.path == self.asked || change.from.as_ref() == Some(&self.asked);
        let is_table =
            |at: usize| self.file(change, at).is_some_and(|(side, path)| is_table(contents, side, path));
        is_asked && is_table(0) && is_table(1)
    }
}

/// Whether a file is a table; one that cannot be read is told to differ, and no more.
fn is_table(contents: &Contents, side: &Side, path: &[u8]) -> bool {
    let name = side.name(path);
    if Format::of_name(name.as_bytes()).is_some() {
        return true;
    }
    let Ok(Some(file)) = contents.open(side, path) else { return false };
    format(&name, &file.bytes).is_ok_and(|format| format.is_some())
}

/// As seen from the other side.
fn turn(change: &mut ChangeInfo) {
    std::mem::swap(&mut change.size_before, &mut change.size_after);
    std::mem::swap(&mut change.mode_before, &mut change.mode_after);
    if let Some(before) = &mut change.kind_before {
        std::mem::swap(before, &mut change.kind);
    }
    change.change = match change.change {
        ChangeKind::Added => ChangeKind::Removed,
        ChangeKind::Removed => ChangeKind::Added,
        same => same,
    };
    if let Some(from) = &mut change.from {
        std::mem::swap(from, &mut change.path);
    }
}

fn shown(change: &ChangeInfo, after: &Side) -> ChangeInfo {
    let mut shown = change.clone();
    if shown.path.is_empty() {
        shown.path = after.name(b"").into_bytes();
    }
    shown
}

/// Takes the answer to [`Request::Diff`].
struct Changes<'s, 'e> {
    held: Vec<ChangeInfo>,
    after: &'s Side,
    each: Option<Each<'e>>,
    are_many: bool,
    waiting: Waiting,
}

impl Sink for Changes<'_, '_> {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        let Item::Change(change) = item else { return Ok(()) };
        self.waiting.end();
        self.held.push(change);
        self.are_many |= self.held.len() > 1;
        let Some(each) = self.each.as_mut().filter(|_| self.are_many) else { return Ok(()) };
        self.held.drain(..).try_for_each(|change| each(&change, &shown(&change, self.after)))
    }

    fn data(&mut self, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}
