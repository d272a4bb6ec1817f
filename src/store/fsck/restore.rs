//! Putting a pack right: what its bytes are to be, and a new file with them in place of the old one,
//! which is kept.
//!
//! A restored record is where it always was, so that all that points at it holds. Bytes of records
//! that are lost become the payload of a [`RecordKind::Void`] record: the pack is well-formed again, and
//! nothing in it is taken for what it is not.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::flip::{Budget, mend_payload};
use super::gap::{Gap, Knows, Part, header_of};
use super::scan::{PackScan, entry_end, read_range};
use super::{Outcome, Problem};
use crate::model::{DatasetId, VersionId, VersionNo};
use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::layout::{Layout, make_dir, sync_dir};
use crate::store::pack::{
    Cursor, FooterEntry, PACK_HEADER, Pack, Packs, Place, Pos, RECORD_HEADER, ReadAt, RecordKind,
    encode_footer, encode_pack_header, read_record,
};

/// Where an intact copy of an object lies: pack and offset of its header.
pub type Copies = HashMap<[u8; 32], (u32, u32)>;

/// What is to be done to a pack.
#[derive(Debug, Default)]
pub struct Plan {
    /// Bytes and where they go.
    patches: Vec<(u64, Vec<u8>)>,
    /// All records there then are, in order.
    entries: Vec<FooterEntry>,
    /// The length the file is cut or brought to.
    len: u64,
    /// What was found, and what becomes of it.
    pub problems: Vec<Problem>,
}

/// Works out how packs are put right.
pub struct Planner<'a> {
    /// The store.
    pub store: StoreId,
    /// Its packs.
    pub packs: &'a Packs,
    /// Intact copies of damaged objects.
    pub copies: Copies,
    /// What the index has in damaged packs, by pack.
    pub known: HashMap<u32, Vec<(Pos, Knows)>>,
    /// Whether there is an index that knows such things.
    pub has_index: bool,
    /// Whether the index has this version under this id.
    pub is_version: &'a dyn Fn(DatasetId, VersionNo, VersionId) -> bool,
    /// A dataset, as a user is told of it.
    pub name: &'a dyn Fn(DatasetId) -> String,
    /// How many flips are still tried.
    pub budget: Budget,
}

impl Planner<'_> {
    /// The records of a pack that are damaged, or were where now nothing is a record.
    pub fn damaged(&self, scan: &PackScan) -> Result<Vec<Part>> {
        let path = self.packs.path(scan.number);
        let io = |e| Error::io("read", &path, e);
        let file = self.packs.open_any(scan.number)?;
        let bad = scan.entries.iter().filter(|entry| scan.bad.binary_search(&entry.offset).is_ok());
        let mut parts: Vec<Part> =
            bad.map(|entry| Part::Record { offset: entry.offset, header: entry.header, how: "" }).collect();
        let listed = scan.footer.as_deref().unwrap_or_default();
        let known = self.known.get(&scan.number).map_or(&[][..], Vec::as_slice);
        for &(from, to) in &scan.gaps {
            let bytes = read_range(&file, from, to).map_err(io)?;
            let (store, pack, is_version) = (self.store, scan.number, self.is_version);
            let gap = Gap { store, pack, from, bytes: &bytes, listed, known, is_version };
            let mut found = gap.resolve();
            if scan.sealed && scan.footer.is_none() && to == scan.len {
                leave_footer(&mut found, known);
            }
            parts.extend(found);
        }
        parts.sort_by_key(|part| match part {
            Part::Record { offset, .. } => u64::from(*offset),
            Part::Unknown(from, ..) => *from,
        });
        Ok(parts)
    }

    /// How a pack is put right, whose damaged records are `damaged`.
    pub fn plan(&mut self, scan: &PackScan, damaged: &[Part]) -> Result<Plan> {
        let file = self.packs.open_any(scan.number)?;
        let mut plan = Plan { len: scan.len, ..Plan::default() };
        plan.entries =
            scan.entries.iter().filter(|e| scan.bad.binary_search(&e.offset).is_err()).copied().collect();
        let name = self.packs.name(scan.number);
        let mut problems = Vec::new();
        let mut note = |offset: u64, what: String, action: String, outcome: Outcome| {
            let (file, offset) = (name.clone(), Some(offset));
            problems.push(Problem { file, offset, what, action, outcome });
        };
        if !scan.header_ok {
            plan.patches.push((0, encode_pack_header(self.store, scan.number).to_vec()));
            note(0, "the pack's header is damaged".into(), "written anew".into(), Outcome::Repaired);
        }
        for part in damaged {
            let (from, to, found) = match part {
                Part::Unknown(from, to, _) => (*from, *to, None),
                Part::Record { offset, header, how } => {
                    let entry = FooterEntry { offset: *offset, header: *header };
                    let what = match how.is_empty() {
                        true => format!("{} that is not what was stored", name_kind(header.kind)),
                        false => format!("{} whose header is damaged", name_kind(header.kind)),
                    };
                    let found = self.restore(&file, scan.number, &entry, how.is_empty())?;
                    (u64::from(*offset), entry_end(&entry), Some((entry, what, *how, found)))
                }
            };
            match found {
                Some((entry, what, how, Some((kind, payload, source)))) if kind != RecordKind::Footer => {
                    let header = header_of(kind, entry.header.hash, entry.header.stored);
                    let place = Place { store: self.store, pack: scan.number, offset: entry.offset };
                    plan.patches.push((from, [&header.encode(place)[..], &payload].concat()));
                    plan.entries.push(FooterEntry { header, ..entry });
                    let by = [how, &source].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>();
                    note(from, what, format!("restored by {}", by.join(" and ")), Outcome::Repaired);
                }
                lost => {
                    let (what, outcome) = self.name_lost(scan.number, part, lost.map(|(_, what, ..)| what));
                    if let Some((header, payload)) = void(&file, from, to).map_err(|e| self.io(scan, e))? {
                        let offset = from as u32;
                        let place = Place { store: self.store, pack: scan.number, offset };
                        plan.patches.push((from, [&header.encode(place)[..], &payload].concat()));
                        plan.entries.push(FooterEntry { offset, header });
                    } else if to >= scan.len {
                        // What is shorter than a header was no whole record: it is the rest of one.
                        plan.len = plan.len.min(from);
                    }
                    note(from, what, "it cannot be restored".into(), outcome);
                }
            }
        }
        plan.problems = problems;
        plan.entries.sort_by_key(|entry| entry.offset);
        self.plan_footer(scan, &mut plan, &name);
        Ok(plan)
    }

    /// What is said of a part that is not restored, and what that comes to.
    fn name_lost(&self, pack: u32, part: &Part, what: Option<String>) -> (String, Outcome) {
        let (from, to, mut knows, kind) = match part {
            Part::Unknown(from, to, knows) => (*from, *to, *knows, None),
            Part::Record { offset, header, .. } => (u64::from(*offset), 0, None, Some(header.kind)),
        };
        if knows.is_none() {
            let known = self.known.get(&pack).map_or(&[][..], Vec::as_slice);
            let here = known.iter().find(|(pos, _)| u64::from(pos.offset) == from + u64::from(RECORD_HEADER));
            knows = here.map(|(_, knows)| *knows);
        }
        let bytes = || what.clone().unwrap_or_else(|| format!("{} bytes that are no record", to - from));
        match (knows, kind) {
            // What that comes to, the index tells when it is compared.
            (Some(Knows::Pending(ds, _)), _) => {
                (format!("a record of changes of {} that no version held", (self.name)(ds)), Outcome::GivenUp)
            }
            (Some(Knows::Version(ds, number)), _) => {
                (format!("the record of {number} of {}", (self.name)(ds)), Outcome::GivenUp)
            }
            (Some(Knows::Object(_)), None) => ("a chunk or manifest node".into(), Outcome::GivenUp),
            (None, Some(RecordKind::Pending)) if !self.has_index => (bytes(), Outcome::Lost),
            _ => (bytes(), Outcome::GivenUp),
        }
    }

    fn io(&self, scan: &PackScan, error: io::Error) -> Error {
        Error::io("read", &self.packs.path(scan.number), error)
    }

    /// Gives a pack that others follow the footer it must have.
    fn plan_footer(&self, scan: &PackScan, plan: &mut Plan, name: &str) {
        if !scan.sealed {
            return;
        }
        let end = plan.entries.last().map_or(u64::from(PACK_HEADER), entry_end);
        let Ok(at) = u32::try_from(end) else { return };
        if scan.footer.as_ref() == Some(&plan.entries) {
            return;
        }
        let payload = encode_footer(&plan.entries, at);
        let kind = RecordKind::Footer;
        let header = header_of(kind, kind.hash(&payload), payload.len() as u32);
        let place = Place { store: self.store, pack: scan.number, offset: at };
        plan.len = end + u64::from(RECORD_HEADER) + payload.len() as u64;
        plan.patches.push((end, [&header.encode(place)[..], &payload].concat()));
        if scan.footer.is_none() || plan.problems.is_empty() {
            let what = match scan.footer {
                Some(_) => "the pack's footer lists other records than there are",
                None => "the pack's footer is missing or damaged",
            };
            plan.problems.push(Problem {
                file: name.to_owned(),
                offset: Some(end),
                what: what.into(),
                action: "written anew".into(),
                outcome: Outcome::Repaired,
            });
        }
    }

    /// The payload of a record, and where it comes from; `header_ok`: nothing else of the record is damaged.
    fn restore(
        &mut self,
        file: &Pack,
        pack: u32,
        entry: &FooterEntry,
        header_ok: bool,
    ) -> Result<Option<(RecordKind, Vec<u8>, String)>> {
        let path = self.packs.path(pack);
        let io = |e| Error::io("read", &path, e);
        let (kind, hash) = (entry.header.kind, entry.header.hash);
        let body = u64::from(entry.offset) + u64::from(RECORD_HEADER);
        let mut payload = read_range(file, body, entry_end(entry)).map_err(io)?;
        let whole = payload.len() == entry.header.stored as usize;
        if whole && kind.hash(&payload) == hash {
            return Ok(Some((kind, payload, String::new())));
        }
        if let Some(&(other, offset)) = self.copies.get(&hash) {
            let place = Place { store: self.store, pack: other, offset };
            let file = self.packs.open_any(other)?;
            let len = file.size().map_err(io)?;
            if let Some((header, Some(copy))) = read_record(&file, len, place).map_err(io)?
                && copy.len() == entry.header.stored as usize
            {
                let source = format!("its copy at byte {offset} of {other:08}.pack");
                return Ok(Some((header.kind, copy, source)));
            }
        }
        // Where more than a bit is damaged, it is not tried for.
        if whole && header_ok && mend_payload(kind, &mut payload, &hash, &mut self.budget) {
            return Ok(Some((kind, payload, "flipping the one bit that was wrong".into())));
        }
        Ok(None)
    }
}

/// Leaves out what was the footer, of the parts of a gap at the end of a pack that lacks it: it is made
/// anew, whatever is left of it.
fn leave_footer(parts: &mut Vec<Part>, known: &[(Pos, Knows)]) {
    let was_footer = match parts.last() {
        Some(Part::Record { header, .. }) => header.kind == RecordKind::Footer,
        Some(Part::Unknown(from, ..)) => known.iter().all(|(pos, _)| u64::from(pos.offset) < *from),
        None => false,
    };
    if was_footer {
        parts.pop();
    }
}

/// A record in place of bytes that are given up; `None` where there is no room for one.
fn void(file: &Pack, from: u64, to: u64) -> io::Result<Option<(crate::store::pack::RecordHeader, Vec<u8>)>> {
    let Some(len) = (to - from).checked_sub(u64::from(RECORD_HEADER)) else { return Ok(None) };
    let Ok(len) = u32::try_from(len) else { return Ok(None) };
    let payload = read_range(file, from + u64::from(RECORD_HEADER), to)?;
    if payload.len() != len as usize {
        return Ok(None);
    }
    let kind = RecordKind::Void;
    Ok(Some((header_of(kind, kind.hash(&payload), len), payload)))
}

/// A kind of record, as a user is told of it.
pub fn name_kind(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Chunk => "a chunk",
        RecordKind::Node => "a manifest node",
        RecordKind::Version | RecordKind::Salvaged => "a version's record",
        RecordKind::Dataset => "a dataset's settings",
        RecordKind::Pending => "a record of changes that no version held",
        RecordKind::Tag => "a record of a change of a tag",
        RecordKind::Annotation => "a record of an annotation",
        RecordKind::Retention => "a record of what is kept",
        RecordKind::Reclaim => "a list of what was reclaimed",
        RecordKind::Footer => "a footer",
        RecordKind::Void => "a record of bytes given up before",
        RecordKind::Other(_) => "a record of a kind that is not known",
    }
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty()
    }

    /// Makes a pack what it is to be: a new file takes the place of the old one, which is kept among the
    /// damaged ones.
    pub fn carry_out(&self, layout: &Layout, packs: &Packs, number: u32) -> Result<()> {
        let old = packs.open_any(number)?;
        let (new, ()) = packs.write_new(&(number..=number), |file| {
            io::copy(&mut Cursor::new(&old)?, file)?;
            self.patches.iter().try_for_each(|(at, bytes)| file.write_all_at(bytes, *at))?;
            file.set_len(self.len)
        })?;
        keep(layout, &packs.path(number), false)?;
        packs.replace(&(number..=number), &new)?;
        packs.sync_names()
    }
}

/// Keeps a file among the damaged ones; `take`: it goes away from where it is.
pub fn keep(layout: &Layout, path: &Path, take: bool) -> Result<PathBuf> {
    let dir = layout.damaged();
    let io = |e| Error::io("keep", path, e);
    if !dir.exists() {
        make_dir(&dir, false)?;
        sync_dir(layout.root()).map_err(io)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut to = dir.join(&*name);
    let mut n = 0;
    while to.symlink_metadata().is_ok() {
        n += 1;
        to = dir.join(format!("{name}.{n}"));
    }
    if take {
        fs::rename(path, &to).map_err(io)?;
        path.parent().map_or(Ok(()), sync_dir).map_err(io)?;
    } else {
        fs::hard_link(path, &to).or_else(|_| fs::copy(path, &to).map(drop)).map_err(io)?;
    }
    sync_dir(&dir).map_err(io)?;
    Ok(to)
}
