//! Verifying a store: every record of the packs, then every version.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::dataset::Dataset;
use crate::dataset::verify::{Damaged, Finding, Known, verify_dataset};
use crate::store::{Damage, DamageKind, RecordKind, name_file_damage};

use super::super::failure::{DAMAGED, Failure};
use super::super::object::path_bytes;
use super::super::protocol::{DamageInfo, Item, Verified};
use super::report::reporting;
use super::{Service, Sink};

impl Service {
    /// Verifies and reports; the exit code tells whether anything is damaged.
    pub(super) fn verify(&self, sink: &mut dyn Sink) -> Result<u8, Failure> {
        let store = self.repo.store();
        let mut totals = Verified::default();
        let verdict = reporting(sink, |step| store.verify(|progress| step(progress.done, progress.total)))?;
        totals.records = verdict.records;
        totals.chunks = store.totals()?.chunks;
        let mut named = HashSet::new();
        let damaged: HashMap<_, _> = verdict.damages.iter().map(|d| ((d.pack, d.offset), d)).collect();
        let places = Damaged::new(&verdict.damages);
        for dataset in self.every_dataset()? {
            let known = Known::new(store, &places);
            let name = dataset.name().to_string();
            totals.purges += dataset.purge_count() as u64;
            let mut found = 0;
            totals.versions += verify_dataset(&dataset, known, &mut |finding| {
                found += 1;
                named.extend(finding.place);
                let what = finding.place.and_then(|place| damaged.get(&place));
                sink.item(Item::Damage(info(&name, finding, what.copied())))
            })?;
            totals.damages += found;
        }
        for damage in verdict.damages.iter().filter(|d| !named.contains(&(d.pack, d.offset))) {
            totals.damages += 1;
            sink.item(Item::Damage(DamageInfo {
                pack: Some(damage.pack),
                offset: Some(damage.offset),
                what: describe(damage),
                dataset: None,
                version: None,
                path: None,
                newest: None,
            }))?;
        }
        sink.item(Item::Verified(totals))?;
        Ok(if totals.damages == 0 { 0 } else { DAMAGED })
    }

    /// The datasets in sight and the archived ones.
    pub(super) fn every_dataset(&self) -> Result<Vec<Arc<Dataset>>, Failure> {
        let (mut all, archived) = self.repo.datasets_and_archived();
        all.iter().try_for_each(|dataset| dataset.seal_to_look())?;
        for record in archived {
            let (store, objects) = (self.repo.store().clone(), self.repo.objects().clone());
            all.push(Arc::new(Dataset::load(store, objects, record, false)?));
        }
        Ok(all)
    }
}

fn info(dataset: &str, finding: Finding, damage: Option<&Damage>) -> DamageInfo {
    let what = match damage {
        Some(damage) => format!("{}: {}", finding.what, describe(damage)),
        None => finding.what,
    };
    DamageInfo {
        pack: finding.place.map(|(pack, _)| pack),
        offset: finding.place.map(|(_, offset)| offset),
        what,
        dataset: Some(dataset.to_owned()),
        version: finding.version.map(|version| version.to_string()),
        path: finding.path.as_deref().map(path_bytes),
        newest: finding.newest,
    }
}

fn describe(damage: &Damage) -> String {
    match damage.kind {
        DamageKind::File(damage) => name_file_damage(damage),
        DamageKind::PackHeader => "the pack's header is damaged".into(),
        DamageKind::NoRecord(bytes) => format!("{bytes} bytes are no record"),
        DamageKind::Payload(RecordKind::Chunk) => "a chunk's bytes are not what was stored".into(),
        DamageKind::Payload(RecordKind::Node) => "a manifest node's bytes are not what was stored".into(),
        DamageKind::Payload(RecordKind::Version) => "a version record is not what was stored".into(),
        DamageKind::Payload(kind) => format!("a record ({kind:?}) is not what was stored"),
        DamageKind::Footer => "the pack's footer is missing or damaged".into(),
        DamageKind::Pack => "the pack is missing, cannot be read, or is another one".into(),
        DamageKind::Nonsense(kind) => format!("a record ({kind:?}) makes no sense"),
    }
}
