//! Values of arguments, as clap reads them.

use std::ffi::OsString;

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

/// A setting of a dataset.
#[derive(Clone, Debug)]
pub enum Setting {
    /// When versions are cut.
    Policy(Policy),
    /// What the daemon keeps; everything where there is nothing.
    Retention(Option<Rules>),
}

/// A setting of a dataset: `policy=<policy>` or `retention=<rules>`.
pub fn setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some(("policy", value)) => policy::parse(value).map(Setting::Policy),
        Some(("retention", "none")) => Ok(Setting::Retention(None)),
        Some(("retention", value)) => value.parse().map(|rules| Setting::Retention(Some(rules))),
        _ => {
            Err("policy=every-write, policy=settle=<time>, policy=manual or retention=<rules> wanted".into())
        }
    }
}
