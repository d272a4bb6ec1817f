//! Which store this is, and whether its files are where they belong.

use std::collections::{BTreeMap, HashMap};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::restore::keep;
use super::{Fsck, Outcome, Problem};
use crate::store::error::{Error, Result};
use crate::store::identity::{Identity, StoreId};
use crate::store::intact::{missing, name_packs};
use crate::store::layout::sync_dir;
use crate::store::pack::{Packs, Span};

/// Most packs that are given up at once: a store of so many would be one of terabytes.
const LOST_MAX: u64 = 100_000;

/// The files of packs there are by the first of each, and what their headers say.
type Headers = BTreeMap<u32, Option<(StoreId, u32)>>;

impl Fsck<'_> {
    /// The store's identity: from `strata.json` or, where that is damaged, from the packs.
    pub(super) fn identity(&mut self) -> Result<Identity> {
        let headers = self.headers()?;
        let mut counts: HashMap<StoreId, usize> = HashMap::new();
        headers.values().flatten().for_each(|(id, _)| *counts.entry(*id).or_default() += 1);
        let most = counts.iter().max_by_key(|(id, count)| (**count, **id)).map(|(id, _)| *id);
        let (what, found) = match Identity::read_or_tell(&self.layout) {
            Ok(identity) if most.is_none() || counts.contains_key(&identity.id) => return Ok(identity),
            Ok(identity) => (format!("it says store {}, of which there is no pack", identity.id), most),
            Err((Error::Damaged { what, .. }, _)) => (what, most),
            Err((Error::NewerFormat { found, .. }, true)) => {
                (format!("it says format {found}, against its own check"), most)
            }
            Err((error, _)) => return Err(error),
        };
        let path = self.layout.identity();
        let Some(id) = found else {
            let what = format!("{what}, and no pack tells which store this is");
            return Err(Error::Damaged { what, advice: "put it back from a copy of the store" });
        };
        let identity = Identity::new(id, Vec::new());
        if !self.options.dry_run {
            if path.symlink_metadata().is_ok() {
                keep(&self.layout, &path, false)?;
            }
            identity.write(&self.layout)?;
        }
        let what = what.rsplit_once("strata.json: ").map_or(what.clone(), |(_, what)| what.to_owned());
        let action = format!("written anew for store {id}, as the packs say");
        self.problem(Problem::of("strata.json", None, what, action, Outcome::Repaired))?;
        Ok(identity)
    }

    fn headers(&self) -> Result<Headers> {
        // The store's id is not looked at by what is called here.
        let packs = Packs::new(self.layout.packs(), StoreId([0; 16]));
        let header = |span: Span| {
            let header = packs.open_file(&span)?.whose();
            Ok((*span.start(), header.map_err(|e| Error::io("read", &packs.path(*span.start()), e))?))
        };
        packs.files()?.into_iter().map(header).collect()
    }

    /// Puts packs whose names were exchanged where they belong, and those of other stores aside.
    pub(super) fn names(&mut self, packs: &Packs, store: StoreId) -> Result<()> {
        let mut headers = self.headers()?;
        headers.retain(|number, _| packs.span(*number).end() == number);
        // Each step puts one file where it belongs, or out of the way.
        loop {
            let wrong = headers.iter().find_map(|(&number, header)| {
                header.filter(|found| *found != (store, number)).map(|found| (number, found))
            });
            let Some((number, (of, wanted))) = wrong else { return Ok(()) };
            let occupant = headers.get(&wanted).copied();
            let free = of == store && occupant != Some(Some((store, wanted))) && occupant != Some(None);
            let name = format!("packs/{number:08}.pack");
            let what = match of == store {
                true => format!("this is pack {wanted}"),
                false => format!("this is a pack of another store, {of}"),
            };
            let (from, to) = (packs.path(number), packs.path(wanted));
            let action = if !free {
                headers.remove(&number);
                if !self.options.dry_run {
                    keep(&self.layout, &from, true)?;
                }
                "put aside".into()
            } else {
                let moved = headers.remove(&number);
                let back = moved.and_then(|header| headers.insert(wanted, header));
                if let Some(header) = back {
                    headers.insert(number, header);
                }
                if !self.options.dry_run {
                    let flags = if back.is_some() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
                    let renamed = renameat_with(CWD, &from, CWD, &to, flags);
                    renamed.map_err(|e| Error::io("rename", &from, e.into()))?;
                    let dir = self.layout.packs();
                    sync_dir(&dir).map_err(|e| Error::io("sync", &dir, e))?;
                }
                format!("named {wanted:08}.pack")
            };
            packs.forget();
            self.moved |= self.options.dry_run;
            self.problem(Problem::of(&name, None, what, action, Outcome::Repaired))?;
        }
    }

    /// Takes note of packs that are missing, of which there were `last`, and of those that are back.
    pub(super) fn missing(&mut self, packs: &Packs, identity: &mut Identity, last: u32) -> Result<()> {
        let numbers = packs.numbers()?;
        let back: Vec<u32> = identity.lost.iter().copied().filter(|n| numbers.contains(n)).collect();
        let mut lost: Vec<u32> = identity.lost.iter().copied().filter(|n| !back.contains(n)).collect();
        let spans = missing(&numbers, &lost, last.max(numbers.last().copied().unwrap_or(0)));
        let count: u64 = spans.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
        if count > LOST_MAX {
            let what = format!("{} is missing from {}", name_packs(&spans), self.layout.packs().display());
            return Err(Error::Damaged { what, advice: "this is more than can be gone on without" });
        }
        for &(first, last) in &spans {
            lost.extend(first..=last);
            let what = "missing".to_owned();
            let action = "gone on without".to_owned();
            let name = format!("packs/{}", name_packs(&[(first, last)]));
            self.problem(Problem::of(&name, None, what, action, Outcome::GivenUp))?;
        }
        for number in &back {
            let name = format!("packs/{number:08}.pack");
            let (what, action) = ("it was missing and is back".into(), "taken up again".into());
            self.problem(Problem::of(&name, None, what, action, Outcome::Repaired))?;
        }
        lost.sort_unstable();
        if lost != identity.lost {
            *identity = Identity::new(identity.id, lost);
            if !self.options.dry_run {
                identity.write(&self.layout)?;
            }
        }
        Ok(())
    }
}
