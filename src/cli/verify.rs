//! `strata verify`

use serde::Serialize;

use crate::daemon::failure::DAMAGED;
use crate::daemon::protocol::{DamageInfo, Verified};
use crate::daemon::{Client, Failure, Item, Request};

use super::Context;
use super::out::{JsonName, Out, ask, count};
use super::progress::Progress;

/// Check every record, chunk and version
///
/// Reads all packs and checks every record against its hash; then replays each dataset's history and
/// checks the chain of versions, every snapshot id, and that every content is there. Damage is listed
/// with the dataset, the first version and the path concerned; the exit code is 3 then. Works beside a
/// mount that is in use. Changes nothing, but cuts what waits to become a version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  strata verify && echo sound")]
pub struct Args {
    /// Print a JSON object: records, chunks, versions, purges (what these removed is not missed), and the array
    /// damages (pack, offset, what, and dataset, version, path where they are known)
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ReportJson {
    records: u64,
    chunks: u64,
    versions: u64,
    purges: u64,
    damages: Vec<DamageJson>,
}

/// A damage in JSON.
#[derive(Serialize)]
pub struct DamageJson {
    pack: Option<u32>,
    offset: Option<u64>,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<bool>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let findings = find(context.client()?, !args.json)?;
    let Verified { records, chunks, versions, purges, damages } = findings.totals;
    if args.json {
        let mut out = Out::new();
        out.json(&ReportJson { records, chunks, versions, purges, damages: findings.damages })?;
        out.flush()?;
    }
    Ok(if damages == 0 { 0 } else { DAMAGED })
}

/// What a verification found.
pub struct Findings {
    /// Numbers.
    pub totals: Verified,
    /// Damages, where they were not printed.
    pub damages: Vec<DamageJson>,
}

/// Verifies; `print`: what is found is printed.
pub fn find(client: Client, print: bool) -> Result<Findings, Failure> {
    let mut totals = Verified::default();
    let mut damages = Vec::new();
    let mut progress = Progress::default();
    ask(client, Request::Verify, |out, item| {
        match item {
            Item::Verified(verified) => totals = verified,
            Item::Progress { done, total } => progress.show(done, total, "verifying"),
            Item::Damage(damage) if !print => damages.push(damage_json(damage)),
            Item::Damage(damage) => {
                progress.clear();
                print_damage(out, &damage)?;
            }
            _ => {}
        }
        Ok(())
    })?;
    progress.clear();
    if print {
        let Verified { records, chunks, versions, .. } = totals;
        let found = match totals.damages {
            0 => "no damage".into(),
            n => count(n, "damage"),
        };
        let purged = match totals.purges {
            0 => String::new(),
            n => format!("; {} removed content for good", count(n, "purge")),
        };
        let (records, chunks) = (count(records, "record"), count(chunks, "chunk"));
        eprintln!("{records} ({chunks}), {}: {found}{purged}", count(versions, "version"));
    }
    Ok(Findings { totals, damages })
}

fn damage_json(damage: DamageInfo) -> DamageJson {
    let path = damage.path.as_deref().map(JsonName::of);
    DamageJson {
        pack: damage.pack,
        offset: damage.offset,
        what: damage.what,
        dataset: damage.dataset,
        version: damage.version,
        path_bytes: path.as_ref().and_then(|path| path.bytes.clone()),
        path: path.map(|path| path.text.into_owned()),
        newest: damage.newest,
    }
}

fn print_damage(out: &mut Out, damage: &DamageInfo) -> Result<(), Failure> {
    if let Some(dataset) = &damage.dataset {
        out.text(format_args!("{dataset}"))?;
        if let Some(version) = &damage.version {
            out.text(format_args!("@{version}"))?;
        }
        if let Some(path) = &damage.path {
            out.text(format_args!("/"))?;
            out.name(path)?;
        }
        out.text(format_args!(": "))?;
    }
    if let (Some(pack), Some(offset)) = (damage.pack, damage.offset) {
        out.text(format_args!("pack {pack} at byte {offset}: "))?;
    }
    let newest = match damage.newest {
        Some(true) => " (the newest version has it too)",
        Some(false) => " (the newest version is not concerned)",
        None => "",
    };
    out.text(format_args!("{}{newest}\n", damage.what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_have_the_documented_fields() {
        let named = DamageInfo {
            pack: Some(3),
            offset: Some(77),
            what: "chunk".into(),
            dataset: Some("d".into()),
            version: Some("v2".into()),
            path: Some(b"a/\xff".to_vec()),
            newest: Some(true),
        };
        let bare = DamageInfo { dataset: None, version: None, path: None, newest: None, ..named.clone() };
        let damages = [named, bare].map(damage_json).into();
        let report = ReportJson { records: 1, chunks: 1, versions: 0, purges: 2, damages };
        assert_eq!(
            serde_json::to_value(report).unwrap(),
            serde_json::json!({"records": 1, "chunks": 1, "versions": 0, "purges": 2, "damages": [
                {"pack": 3, "offset": 77, "what": "chunk", "dataset": "d", "version": "v2",
                 "path": "a/\u{fffd}", "path_bytes": "612fff", "newest": true},
                {"pack": 3, "offset": 77, "what": "chunk"},
            ]})
        );
    }
}
