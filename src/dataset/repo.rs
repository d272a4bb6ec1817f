//! All datasets of a store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::model::{DatasetId, DatasetName, DatasetRecord, Ino, Inode, Policy, Timestamp};
use crate::store::{self, Objects, Store, error::chain};

use super::author::Caller;
use super::bundle;
use super::dataset::Dataset;
use super::digests::Digests;
use super::error::{Error, Result};
use super::meta::Texts;

/// The datasets of a store, by name. Archived ones are out of sight but keep their history.
#[derive(Debug)]
pub struct Repo {
    store: Arc<Store>,
    objects: Arc<Objects>,
    digests: Arc<Digests>,
    texts: Texts,
    sync_always: bool,
    datasets: RwLock<Datasets>,
}

#[derive(Debug, Default)]
struct Datasets {
    active: BTreeMap<DatasetName, Arc<Dataset>>,
    archived: BTreeMap<DatasetId, DatasetRecord>,
    last_id: u32,
    /// The datasets of a batch on all of them.
    batch: Option<Vec<Arc<Dataset>>>,
}

impl Repo {
    /// Opens the store at `path`, making one if there is none. `sync_always`: every change is durable
    /// when its call returns.
    pub fn open(path: &Path, sync_always: bool) -> Result<Repo> {
        let failed = match Repo::load(Store::open_or_init(path)?, sync_always) {
            Err(Error::Store(error @ (store::Error::Index(_) | store::Error::Decode { .. }))) => error,
            opened => return opened,
        };
        // Damage that was met only when the index was read.
        log::error!("{}; rebuilding the index of {}", chain(&failed), path.display());
        Store::rebuild_index(path)?;
        Repo::load(Store::open(path)?, sync_always)
    }

    fn load(store: Store, sync_always: bool) -> Result<Repo> {
        bundle::finish_imports(&store)?;
        let store = Arc::new(store);
        let objects = Arc::new(Objects::new(store.clone()));
        let mut datasets = Datasets::default();
        for record in store.datasets()? {
            datasets.last_id = datasets.last_id.max(record.id.0);
            if record.archived {
                datasets.archived.insert(record.id, record);
            } else {
                let name = record.name.clone();
                let dataset = Dataset::load(store.clone(), objects.clone(), record, sync_always)?;
                datasets.active.insert(name, Arc::new(dataset));
            }
        }
        let digests = Arc::new(Digests::default());
        let texts = Texts::new(digests.clone());
        Ok(Repo { store, objects, digests, texts, sync_always, datasets: RwLock::new(datasets) })
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The store's chunks and manifests.
    pub fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// Digests of contents.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Texts about versions.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// The datasets in sight, by name.
    pub fn datasets(&self) -> Vec<Arc<Dataset>> {
        self.datasets.read().active.values().cloned().collect()
    }

    /// Records of the archived datasets.
    pub fn archived(&self) -> Vec<DatasetRecord> {
        self.datasets.read().archived.values().cloned().collect()
    }

    /// Both, as of one moment: a dataset that is archived or brought back meanwhile is in one of them.
    pub fn datasets_and_archived(&self) -> (Vec<Arc<Dataset>>, Vec<DatasetRecord>) {
        let datasets = self.datasets.read();
        (datasets.active.values().cloned().collect(), datasets.archived.values().cloned().collect())
    }

    /// The dataset of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Dataset>> {
        let name = DatasetName::new(name.as_bytes()).ok()?;
        self.datasets.read().active.get(&name).cloned()
    }

    /// The dataset of that number, if it is in sight.
    pub fn by_id(&self, id: DatasetId) -> Option<Arc<Dataset>> {
        self.datasets.read().active.values().find(|dataset| dataset.id() == id).cloned()
    }

    /// The dataset of that name, or an error that says there is none in sight.
    pub fn dataset(&self, name: &str) -> Result<Arc<Dataset>> {
        self.datasets.read().find(name)
    }

    /// Makes a dataset, or brings back the archived one of that name (the latest, if several).
    pub fn create(&self, name: DatasetName, mode: u32, uid: u32, gid: u32) -> Result<Arc<Dataset>> {
        self.store.check_writable()?;
        let mut datasets = self.datasets.write();
        if datasets.active.contains_key(&name) {
            return Err(Error::Exists(name.to_string()));
        }
        let now = Timestamp::now();
        let archived = datasets.archived.values().rev().find(|r| r.name == name).cloned();
        let record = match archived {
            Some(record) => DatasetRecord { archived: false, ..record },
            None => DatasetRecord {
                id: DatasetId(datasets.last_id + 1),
                name: name.clone(),
                created: now,
                archived: false,
                policy: Policy::EveryWrite,
                root: Inode::root(mode & 0o7777, uid, gid, now),
            },
        };
        self.store.append_dataset(&record)?;
        datasets.last_id = datasets.last_id.max(record.id.0);
        datasets.archived.remove(&record.id);
        let dataset = Dataset::load(self.store.clone(), self.objects.clone(), record, self.sync_always)?;
        let dataset = Arc::new(dataset);
        if let Some(batch) = &mut datasets.batch {
            dataset.begin_batch()?;
            batch.push(dataset.clone());
        }
        datasets.active.insert(name, dataset.clone());
        drop(datasets);
        self.make_durable()?;
        Ok(dataset)
    }

    /// Makes a dataset of versions that come from elsewhere: `fill` appends them, for the number that the
    /// dataset has. That is the one that `record` says, if no other dataset of the store has it. Until all is
    /// there the dataset is archived, under a name of its own; where an attempt ended before, `fill` finds what
    /// it appended.
    ///
    /// # Errors
    /// [`Error::Exists`] where a dataset has that name, an archived one too.
    pub fn adopt(
        &self,
        record: DatasetRecord,
        fill: impl FnOnce(&Store, DatasetId) -> Result<()>,
    ) -> Result<Arc<Dataset>> {
        self.store.check_can_grow()?;
        let name = record.name.clone();
        let partial = DatasetName::new(format!(".bundle-{}-{}", record.id.0, record.created.0).as_bytes())?;
        let mut datasets = self.datasets.write();
        let taken = |datasets: &Datasets| {
            datasets.active.contains_key(&name) || datasets.archived.values().any(|other| other.name == name)
        };
        if taken(&datasets) {
            return Err(Error::Exists(format!("dataset {name}")));
        }
        let others = datasets.active.values().map(|dataset| dataset.id());
        let archived = datasets.archived.values().filter(|other| other.name != partial).map(|other| other.id);
        let id = match others.chain(archived).any(|id| id == record.id) {
            true => DatasetId(datasets.last_id + 1),
            false => record.id,
        };
        let record = DatasetRecord { id, archived: true, name: partial, ..record };
        self.store.append_dataset(&record)?;
        datasets.last_id = datasets.last_id.max(id.0);
        datasets.archived.insert(id, record.clone());
        drop(datasets);
        fill(&self.store, id)?;
        let mut datasets = self.datasets.write();
        if taken(&datasets) {
            return Err(Error::Exists(format!("dataset {name}")));
        }
        let record = DatasetRecord { archived: false, name: name.clone(), ..record };
        self.store.append_dataset(&record)?;
        datasets.archived.remove(&id);
        let dataset = Dataset::load(self.store.clone(), self.objects.clone(), record, self.sync_always)?;
        let dataset = Arc::new(dataset);
        datasets.active.insert(name, dataset.clone());
        drop(datasets);
        self.store.sync()?;
        Ok(dataset)
    }

    /// With `sync=always`, nothing that returned is ever lost.
    fn make_durable(&self) -> Result<()> {
        if self.sync_always { Ok(self.store.sync()?) } else { Ok(()) }
    }

    /// Archives an empty dataset.
    pub fn archive(&self, name: &str) -> Result<()> {
        self.store.check_writable()?;
        let mut datasets = self.datasets.write();
        let dataset = datasets.find(name)?;
        if !dataset.read(|live| live.list(Ino::ROOT, 0, 1))?.is_empty() {
            return Err(Error::NotEmpty(name.to_owned()));
        }
        if dataset.in_batch() {
            dataset.end_batch(Caller::default(), None)?;
        }
        dataset.seal()?;
        let record = DatasetRecord { archived: true, ..dataset.record() };
        self.store.append_dataset(&record)?;
        datasets.active.remove(&record.name);
        datasets.archived.insert(record.id, record);
        drop(datasets);
        self.make_durable()
    }

    /// Renames a dataset to a name that is free.
    pub fn rename(&self, name: &str, new_name: DatasetName) -> Result<()> {
        self.store.check_writable()?;
        let mut datasets = self.datasets.write();
        let dataset = datasets.find(name)?;
        if datasets.active.contains_key(&new_name) {
            return Err(Error::Exists(new_name.to_string()));
        }
        let record = DatasetRecord { name: new_name.clone(), ..dataset.record() };
        self.store.append_dataset(&record)?;
        if let Some(dataset) = datasets.active.remove(&dataset.name()) {
            *dataset.record.write() = record;
            datasets.active.insert(new_name, dataset);
        }
        drop(datasets);
        self.make_durable()
    }

    /// Begins a batch on all datasets and those made until [`Repo::end_batch`]; gives those there are.
    pub fn begin_batch(&self, by: Caller) -> Result<Vec<Arc<Dataset>>> {
        let mut datasets = self.datasets.write();
        if datasets.batch.is_some() {
            return Err(Error::Invalid("a batch on all datasets is under way already".into()));
        }
        let mut begun: Vec<Arc<Dataset>> = Vec::new();
        for dataset in datasets.active.values() {
            if let Err(error) = dataset.begin_batch() {
                begun.iter().try_for_each(|dataset| dataset.end_batch(by, None).map(drop))?;
                return Err(error);
            }
            begun.push(dataset.clone());
        }
        datasets.batch = Some(begun.clone());
        Ok(begun)
    }

    /// Lets no further dataset into the batch on all; gives those in it, each to be ended by itself.
    pub fn end_batch(&self) -> Vec<Arc<Dataset>> {
        self.datasets.write().batch.take().unwrap_or_default()
    }

    /// Does what is due with the passing of time, for all datasets. Errors are logged: they come again
    /// at the next change, where somebody waits for the answer.
    pub fn tick(&self) {
        for dataset in self.datasets() {
            if let Err(error) = dataset.tick() {
                log::error!("dataset {}: {error}", dataset.name());
            }
        }
    }

    /// Cuts everything that waits for a cut and makes everything durable.
    pub fn finish(&self) -> Result<()> {
        if self.store.is_read_only() {
            return Ok(());
        }
        // Where one cannot be sealed, the others are all the same.
        let sealed = self.datasets().iter().map(|dataset| dataset.seal()).fold(Ok(()), Result::and);
        self.store.sync()?;
        sealed
    }
}

impl Datasets {
    fn find(&self, name: &str) -> Result<Arc<Dataset>> {
        let found = DatasetName::new(name.as_bytes()).ok().and_then(|name| self.active.get(&name).cloned());
        found.ok_or_else(|| match self.archived.values().any(|record| record.name.as_str() == name) {
            true => Error::Archived(name.to_owned()),
            false => Error::NoDataset(name.to_owned()),
        })
    }
}
