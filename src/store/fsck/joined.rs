//! Files of several packs that are not what their names say, or of which a pack is to be put right.
//!
//! A pack is put right in a file of its own, so that what is kept in `damaged/` is what there was. So a file of
//! several is first taken apart; the store joins them again when it has the time. Where neither of the lists of its
//! packs is left, each is known by its header and by the footer of the one before.

use std::collections::HashSet;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::restore::keep;
use super::{Fsck, Outcome, Problem};
use crate::store::error::{Error, Result};
use crate::store::identity::StoreId;
use crate::store::layout::{Layout, sync_dir};
use crate::store::pack::{
    Effort, FOOTER_END, PACK_HEADER, Pack, PackFile, Packs, ReadAt, Row, Span, decode_pack_header, list_len,
    rewrite,
};

/// Bytes read at once in a search.
const BLOCK: u64 = 1 << 20;

impl Fsck<'_> {
    /// Gives files of several packs the names of what is in them, and puts those aside that have no such name.
    pub(super) fn joined_names(&mut self, packs: &Packs, store: StoreId) -> Result<()> {
        let mut seen = HashSet::new();
        loop {
            let mut wrong = None;
            for span in packs.files()?.into_iter().filter(|span| span.start() < span.end()) {
                let found = span_of(packs, store, &span)?;
                if found.as_ref() != Some(&span) && seen.insert(span.clone()) {
                    wrong = Some((span, found));
                    break;
                }
            }
            let Some((span, found)) = wrong else { return Ok(()) };
            let name = packs.name(*span.start());
            let what = "it does not hold the packs that its name says".to_owned();
            // Whether the name is free, or that of a file that has no right to it either.
            let free = match &found {
                Some(found) if packs.path_of(found).exists() => {
                    (span_of(packs, store, found)?.as_ref() != Some(found)).then_some(RenameFlags::EXCHANGE)
                }
                Some(_) => Some(RenameFlags::NOREPLACE),
                None => None,
            };
            let from = packs.path_of(&span);
            let Some((found, flags)) = found.zip(free) else {
                if !self.options.dry_run {
                    keep(&self.layout, &from, true)?;
                }
                self.misplaced(packs, Problem::of(&name, None, what, "put aside".into(), Outcome::GivenUp))?;
                continue;
            };
            let to = packs.path_of(&found);
            if !self.options.dry_run {
                renameat_with(CWD, &from, CWD, &to, flags)
                    .map_err(|e| Error::io("rename", &from, e.into()))?;
                packs.sync_names()?;
                // What is there now was something else before.
                seen.clear();
            }
            let named = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.misplaced(
                packs,
                Problem::of(&name, None, what, format!("named {named}"), Outcome::Repaired),
            )?;
        }
    }

    fn misplaced(&mut self, packs: &Packs, problem: Problem) -> Result<()> {
        packs.forget();
        self.moved |= self.options.dry_run;
        self.problem(problem)
    }

    /// Takes a file apart of which a list of its packs is damaged; gives whether they can be read.
    pub(super) fn lists(&mut self, packs: &Packs, store: StoreId, span: &Span) -> Result<bool> {
        let file = packs.open_file(span)?;
        if span.start() == span.end() || file.members().is_some_and(|members| members.is_whole()) {
            return Ok(true);
        }
        let (what, action) = match file.members() {
            Some(_) => ("one of the two lists of its packs is damaged", "taken apart"),
            None => ("both lists of its packs are damaged", "taken apart by the headers of the packs"),
        };
        let (what, action) = (what.to_owned(), action.to_owned());
        let problem = Problem::of(&packs.name(*span.start()), None, what, action, Outcome::Repaired);
        self.problem(problem)?;
        if !self.options.dry_run {
            take_apart(&self.layout, packs, store, span)?;
        }
        Ok(!self.options.dry_run || file.members().is_some())
    }
}

/// The packs that the file of this name holds, by what it says itself; by its name, where it says which is the first
/// and no more. `None` where it is no file of several packs of this store.
fn span_of(packs: &Packs, store: StoreId, named: &Span) -> Result<Option<Span>> {
    let file = packs.open_file(named)?;
    let whose = file.whose().map_err(|e| Error::io("read", &packs.path_of(named), e))?;
    let Some((_, first)) = whose.filter(|(of, _)| *of == store && file.is_joined()) else { return Ok(None) };
    let last = match file.members() {
        Some(members) => first.checked_add(members.count().saturating_sub(1)),
        None => (first == *named.start()).then_some(*named.end()),
    };
    Ok(last.map(|last| first..=last))
}

/// Gives each pack of a file one of its own, as far as it has none; the file goes to the damaged ones.
pub fn take_apart(layout: &Layout, packs: &Packs, store: StoreId, span: &Span) -> Result<()> {
    let path = packs.path(*span.start());
    let io = |e| Error::io("take apart", &path, e);
    let file = Arc::new(packs.open_file(span)?);
    let mut written = Vec::new();
    for (number, (at, len)) in span.clone().zip(places(&file, store, span).map_err(io)?) {
        if packs.own_path(number).exists() {
            continue;
        }
        let pack: Box<dyn ReadAt> = match Pack::of(file.clone(), span, number) {
            Some(pack) => Box::new(pack),
            None => Box::new(Part { file: file.clone(), at, len }),
        };
        let row = Row::new((store, number), vec![(pack, Vec::new())]).map_err(io)?;
        let (new, _) = packs.write_new(&(number..=number), |out| rewrite(&row, Effort::Usual, out))?;
        written.push((new, number));
    }
    for (new, number) in written {
        std::fs::rename(&new, packs.own_path(number)).map_err(|e| Error::io("rename", &new, e))?;
    }
    let dir = layout.packs();
    sync_dir(&dir).map_err(|e| Error::io("sync", &dir, e))?;
    keep(layout, &path, true)?;
    packs.forget();
    Ok(())
}

/// A part of a file of packs.
struct Part {
    file: Arc<PackFile>,
    at: u64,
    len: u64,
}

impl ReadAt for Part {
    fn size(&self) -> std::io::Result<u64> {
        Ok(self.len)
    }

    fn fill_at(&self, out: &mut [u8], at: u64) -> std::io::Result<()> {
        self.file.fill_at(out, self.at + at)
    }
}

/// Where the packs of a file begin and how long they are: as it says, or as their headers do. One whose header is
/// damaged is empty then, and what it holds is taken for a part of the one before.
fn places(file: &PackFile, store: StoreId, span: &Span) -> std::io::Result<Vec<(u64, u64)>> {
    let count = span.end() - span.start() + 1;
    if let Some(members) = file.members() {
        return Ok((0..count).filter_map(|n| members.place(n)).collect());
    }
    let list = list_len(count);
    let end = file.size()?.saturating_sub(list).max(list);
    let mut starts = vec![list];
    let mut found = search(file, store, span, (list, end))?.into_iter().peekable();
    for number in span.clone().skip(1) {
        let here = found.next_if(|(pack, _)| *pack == number).map(|(_, at)| at);
        let next = here.or(found.peek().map(|(_, at)| *at)).unwrap_or(end);
        starts.push(next);
    }
    starts.push(end);
    Ok(starts.windows(2).map(|pair| (pair[0], pair[1] - pair[0])).collect())
}

/// The headers of packs after the first of a file, in order, as far as a footer ends before each.
fn search(
    file: &PackFile,
    store: StoreId,
    span: &Span,
    (from, to): (u64, u64),
) -> std::io::Result<Vec<(u32, u64)>> {
    let header = PACK_HEADER as usize;
    let lead = FOOTER_END.len();
    let (mut found, mut last) = (Vec::new(), *span.start());
    let mut block = Vec::new();
    let mut at = from;
    while at + (lead + header) as u64 <= to {
        block.resize((to - at).min(BLOCK) as usize, 0);
        file.fill_at(&mut block, at)?;
        for (n, window) in block.windows(lead + header).enumerate() {
            let (footer, window) = window.split_at(lead);
            let Some(Ok(window)) = (footer == FOOTER_END).then(|| window.try_into()) else { continue };
            if let Some((of, number)) = decode_pack_header(window)
                && of == store
                && number > last
                && span.contains(&number)
            {
                found.push((number, at + (n + lead) as u64));
                last = number;
            }
        }
        at += (block.len() - lead - header + 1) as u64;
    }
    Ok(found)
}
