//! Values of arguments, as clap reads them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};

use crate::daemon::object::{VersionText, parse_path};
use crate::daemon::{ObjectSpec, policy};
use crate::model::{AnnotationKey, DatasetName, Name, Policy, Rules, TagName};

/// The name of a dataset.
pub fn dataset(text: &str) -> Result<DatasetName, String> {
    DatasetName::new(text.as_bytes()).map_err(|e| e.to_string())
}

/// The name of a version.
pub fn version(text: &str) -> Result<VersionText, String> {
    VersionText::parse(text)
}

/// A tag.
pub fn tag(text: &str) -> Result<TagName, String> {
    TagName::new(text).map_err(|e| e.to_string())
}

/// The key of an annotation.
pub fn annotation_key(text: &str) -> Result<AnnotationKey, String> {
    AnnotationKey::new(text).map_err(|e| e.to_string())
}

/// `KEY=VALUE`.
pub fn annotation(text: &str) -> Result<(AnnotationKey, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE wanted")?;
    Ok((annotation_key(key)?, value.to_owned()))
}

/// `DATASET[@VERSION][/PATH]`.
pub fn object() -> ValueParser {
    OsStringValueParser::new().try_map(|text: OsString| ObjectSpec::parse(&text)).into()
}

/// `DATASET[@VERSION]`.
pub fn version_of_dataset(text: &str) -> Result<ObjectSpec, String> {
    let object = ObjectSpec::parse(text.as_ref())?;
    match object.path.as_slice() {
        [] => Ok(object),
        _ => Err("DATASET or DATASET@VERSION wanted, without a path".into()),
    }
}

/// A path within a dataset.
#[derive(Clone, Debug)]
pub struct DatasetPath(pub Vec<Name>);

/// A path within a dataset.
pub fn path() -> ValueParser {
    OsStringValueParser::new().try_map(|text: OsString| parse_path(&text).map(DatasetPath)).into()
}

/// Paths within a dataset, with this at the end of each; what is empty is none.
///
/// # Errors
/// Says which of them is no path.
pub fn list(text: &[u8], end: u8) -> Result<Vec<DatasetPath>, String> {
    let paths = (1..).zip(text.split(|byte| *byte == end)).filter(|(_, path)| !path.is_empty());
    let parsed = paths.map(|(n, path)| match parse_path(OsStr::from_bytes(path)) {
        Ok(path) => Ok(DatasetPath(path)),
        Err(why) => Err(format!("path {n}: {why}")),
    });
    parsed.collect()
}

/// A setting of a dataset.
#[derive(Clone, Debug)]
pub enum Setting {
    /// When versions are cut.
    Policy(Policy),
    /// What the daemon keeps; everything where there is nothing.
    Retention(Option<Rules>),
    /// The bytes that its files may have; any number where there is nothing.
    Quota(Option<u64>),
}

/// A number of bytes such as `500G`, in units of 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => Some(0),
        _ => ["K", "M", "G", "T", "P"].iter().position(|known| *known == unit).map(|n| 10 * (n as u32 + 1)),
    };
    let bytes = shift.and_then(|shift| number.parse::<u64>().ok()?.checked_mul(1 << shift));
    bytes.filter(|bytes| (1..=i64::MAX as u64).contains(bytes)).ok_or_else(|| {
        format!("'{text}' is no size: a number of bytes wanted, or of K, M, G, T or P, such as 500G; or none")
    })
}

/// A setting of a dataset: `policy=<policy>`, `retention=<rules>` or `quota=<size>`.
pub fn setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some(("policy", value)) => policy::parse(value).map(Setting::Policy),
        Some(("retention", "none")) => Ok(Setting::Retention(None)),
        Some(("retention", value)) => value.parse().map(|rules| Setting::Retention(Some(rules))),
        Some(("quota", "none")) => Ok(Setting::Quota(None)),
        Some(("quota", value)) => size(value).map(|bytes| Setting::Quota(Some(bytes))),
        _ => Err("policy=every-write, policy=settle=<time>, policy=manual, retention=<rules> or quota=<size> wanted"
            .into()),
    }
}
