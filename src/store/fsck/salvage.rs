//! Writing to the log what only the index knew, and giving datasets whose settings are lost new ones.

use super::index::Salvage;
use super::{Fsck, Outcome, Problem};
use crate::model::{
    DatasetId, DatasetName, DatasetRecord, Ino, Inode, Policy, Timestamp, VersionId, VersionNo, View,
};
use crate::store::Store;
use crate::store::error::{Error, Result};
use crate::store::index::keys;

impl Fsck<'_> {
    /// Appends what was salvaged, oldest versions first.
    pub(super) fn write_salvage(&self, store: &Store, salvage: Salvage) -> Result<()> {
        for ((ds, number), mut salvaged) in salvage.versions {
            let before = VersionNo(number.0 - 1);
            // A version's id is in the record after it; where there is none, the index has its beginning.
            if let Ok(Some((_, next))) = store.version(ds, number.next()) {
                salvaged.id = next.previous;
            }
            if before > VersionNo::EMPTY {
                let previous = store.version(ds, before).ok().flatten();
                salvaged.record.previous = previous.map_or(VersionId::ROOT, |(id, _)| id);
            }
            store.append_salvaged(&salvaged)?;
        }
        salvage.datasets.iter().try_for_each(|record| store.append_dataset(record))?;
        salvage.tags.iter().try_for_each(|record| store.append_tag(record))?;
        salvage.annotations.iter().try_for_each(|record| store.append_annotation(record))
    }

    /// Gives datasets of which nothing but versions or changes is left a name, so that they are seen.
    pub(super) fn adopt_datasets(&mut self, store: &Store) -> Result<()> {
        let known = store.datasets()?;
        let mut names: Vec<String> = known.iter().map(|record| record.name.to_string()).collect();
        for id in store.ids_in_use()? {
            if known.iter().any(|record| record.id == id) {
                continue;
            }
            let mut name = format!("lost+found-{}", id.0);
            while names.contains(&name) {
                name.push('-');
            }
            let what = format!("the settings of dataset {} are lost, its name among them", id.0);
            let action = format!("named '{name}'");
            store.append_dataset(&settings(store, id, &name)?)?;
            names.push(name);
            self.problem(Problem::of("packs", None, what, action, Outcome::Lost))?;
        }
        Ok(())
    }
}

fn settings(store: &Store, id: DatasetId, name: &str) -> Result<DatasetRecord> {
    let newest = store.last_version(id)?;
    let view = View::of(newest, &store.rollbacks(id)?);
    let now = Timestamp::now();
    let root = store.inode(id, Ino::ROOT, &view)?.map(|(_, inode)| inode);
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let root = root.unwrap_or_else(|| Inode::root(0o700, uid, gid, now));
    let name = DatasetName::new(name.as_bytes()).map_err(|e| Error::Refused(e.to_string()))?;
    Ok(DatasetRecord { id, name, created: now, archived: false, policy: Policy::EveryWrite, root })
}

impl Store {
    /// The datasets that anything is recorded of.
    fn ids_in_use(&self) -> Result<Vec<DatasetId>> {
        let mut ids = Vec::new();
        for tag in *b"vw" {
            let mut range = self.index.scan(&[tag]);
            while let Some((key, _)) = range.next_entry()? {
                let id = key.get(1..5).and_then(|id| id.first_chunk()).map(|id| u32::from_be_bytes(*id));
                let Some(id) = id else { continue };
                ids.push(DatasetId(id));
                range.seek(keys::after_prefix(&[&[tag][..], &id.to_be_bytes()].concat()));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}
