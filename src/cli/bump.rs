//! `strata bump`

mod reasons;

use serde::Serialize;

use crate::daemon::object::VersionText;
use crate::daemon::protocol::{NewTag, Step, TagInfo};
use crate::daemon::{Failure, Item, ObjectSpec, Request, Sink, next_release};
use crate::model::TagName;

use super::diff::contents::Contents;
use super::diff::found::Found;
use super::diff::side::Side;
use super::out::Out;
use super::{Context, tag, values};
use reasons::{Reason, reasons, step_name};

/// Reasons of a step that are told one by one.
const TOLD_MAX: usize = 10;

/// Give a version the semantic version that its changes call for
///
/// Compares VERSION with the last release (the highest tag that is a semantic version) and takes the step
/// that the greatest change calls for: major where a path was removed, renamed or replaced by something of
/// another kind, or a column of a table removed or given another type; minor where a path or a column was
/// added; patch where rows, bytes or attributes changed. Then tags it as `strata release` does; with
/// --suggest, only says so and why. Where there is no release yet, the first is 0.1.0. Tables are .csv, .tsv,
/// .jsonl, .ndjson and .parquet files, and such that begin as Parquet does; one that cannot be read is an
/// error, unless --bytes is given. Without @VERSION, the newest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata bump --suggest imagenet
  strata bump --suggest imagenet --since 1.4.0
  strata bump imagenet -m 'a third camera'")]
pub struct Args {
    /// Say which step it would be and why; change nothing
    #[arg(long)]
    suggest: bool,
    /// Compare with this version instead of the last release
    #[arg(long, value_name = "VERSION", value_parser = values::version)]
    since: Option<VersionText>,
    /// Do not look into tables: what was modified calls for a patch
    #[arg(long)]
    bytes: bool,
    /// Print a JSON object: with --suggest dataset, version, since (a version), release (the last one), step (major,
    /// minor, patch, or null where nothing changed), next, and reasons (step, change, path, path_bytes,
    /// detail); else tag, version, was, time, uid, command, message
    #[arg(long)]
    json: bool,
    /// What to say of the release
    #[arg(short, long, value_name = "TEXT", conflicts_with = "suggest")]
    message: Option<String>,
    /// The version
    #[arg(value_name = "DATASET[@VERSION]", value_parser = values::version_of_dataset)]
    version: ObjectSpec,
}

/// What is proposed.
#[derive(Serialize)]
struct Proposal {
    dataset: String,
    version: String,
    since: Option<String>,
    release: Option<String>,
    step: Option<&'static str>,
    next: Option<String>,
    reasons: Vec<Reason>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let contents = Contents::new(context.client()?);
    let dataset = args.version.dataset.clone();
    let release = last_release(&contents, &args.version)?;
    let (after, _) = contents.pinned(Side::Object(args.version.clone()), &[])?;
    let Side::Object(ObjectSpec { version: Some(version), .. }) = &after else {
        return Err(Failure::new(format!("{dataset} has no version to release yet")));
    };
    let version = version.clone();
    let since = match (&args.since, &release) {
        (Some(since), _) => Some(since.clone()),
        (None, Some(release)) => Some(VersionText::parse(release.as_str()).map_err(Failure::new)?),
        (None, None) => None,
    };
    let (mut step, mut reasons, mut pinned) = (Some(Step::Minor), vec![Reason::first()], None);
    if let Some(since) = since {
        let before = ObjectSpec { version: Some(since), ..args.version.clone() };
        let (before, _) = contents.pinned(Side::Object(before), &[])?;
        if let Side::Object(ObjectSpec { version: Some(version), .. }) = &before {
            pinned = Some(version.as_str().to_owned());
        }
        let found = Found::new(&contents, [before, after], &[], None)?;
        reasons = self::reasons(&contents, &found, !args.bytes)?;
        step = reasons.first().map(|reason| reason.step);
    }
    contents.clear();
    contents.close()?;
    let next = step.map(|step| next_release(release.as_ref(), step)).transpose()?;
    let proposal = Proposal {
        dataset: dataset.to_string(),
        version: version.as_str().to_owned(),
        since: pinned,
        release: release.as_ref().map(|name| name.to_string()),
        step: step.map(step_name),
        next: next.map(|name| name.to_string()),
        reasons,
    };
    if args.suggest {
        let mut out = Out::new();
        if args.json {
            out.json(&proposal)?
        } else {
            print(&mut out, &proposal)?
        }
        out.flush()?;
        return Ok(0);
    }
    let Some(step) = step else {
        return Err(Failure::new(format!("nothing changed in {dataset} since {}", since_text(&proposal)))
            .hint("strata release tags a version all the same"));
    };
    let to = ObjectSpec { version: Some(version), ..args.version };
    tag::give(context, to, NewTag::After { step, highest: release }, args.message, false, args.json)
}

/// The highest tag of a dataset that is a semantic version, and none before a release.
fn last_release(contents: &Contents, of: &ObjectSpec) -> Result<Option<TagName>, Failure> {
    let mut tags = Tags(Vec::new());
    contents.run(Request::Tags { dataset: of.dataset.clone(), history: false }, &mut tags)?;
    let names = tags.0.iter().filter_map(|tag| TagName::new(&tag.tag).ok());
    let releases = names.filter_map(|name| Some((name.semantic().filter(|v| v.pre.is_empty())?, name)));
    Ok(releases.max_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, name)| name))
}

fn since_text(proposal: &Proposal) -> String {
    match (&proposal.release, &proposal.since) {
        (Some(release), Some(since)) => format!("{since} (the last release is {release})"),
        (None, Some(since)) => since.clone(),
        (_, None) => "the beginning".into(),
    }
}

fn print(out: &mut Out, proposal: &Proposal) -> Result<(), Failure> {
    let (dataset, version) = (&proposal.dataset, &proposal.version);
    let (Some(step), Some(next)) = (proposal.step, &proposal.next) else {
        return out.text(format_args!("{dataset}: nothing changed since {}\n", since_text(proposal)));
    };
    out.text(format_args!("{dataset}: {version} is a {step} step from {}: {next}\n", since_text(proposal)))?;
    for step in [Step::Major, Step::Minor, Step::Patch] {
        let all: Vec<&Reason> = proposal.reasons.iter().filter(|reason| reason.step == step).collect();
        for reason in all.iter().take(TOLD_MAX) {
            out.text(format_args!("  {:6} {}", step_name(step), reason.change))?;
            let path = Some(&reason.path).filter(|path| !path.is_empty());
            for (before, text) in [(" ", path), (": ", reason.detail.as_ref())] {
                if let Some(text) = text {
                    out.text(format_args!("{before}"))?;
                    out.name(text.as_bytes())?;
                }
            }
            out.text(format_args!("\n"))?;
        }
        if all.len() > TOLD_MAX {
            out.text(format_args!("  {:6} and {} more\n", step_name(step), all.len() - TOLD_MAX))?;
        }
    }
    Ok(())
}

/// Takes the answer to [`Request::Tags`].
struct Tags(Vec<TagInfo>);

impl Sink for Tags {
    fn item(&mut self, item: Item) -> Result<(), Failure> {
        if let Item::Tag(tag) = item {
            self.0.push(tag);
        }
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}
