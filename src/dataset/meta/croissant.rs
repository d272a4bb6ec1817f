//! `croissant.json`: a description of a version in Croissant 1.0, a form of JSON-LD.
//!
//! Tables are described each, with their columns. Where there are many, those of a directory that have the same
//! columns are described together. Of what else there is, a few files of a sort (an extension in a directory at
//! the top) are described each, many together, by a pattern. Files are named as seen from the directory that
//! the description is in, which is beside them. Files whose path is not UTF-8, or whose content was purged, are
//! left out.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::dataset::digests::Algorithm;
use crate::dataset::error::Result;
use crate::model::hash::hex;
use crate::model::{Content, Timestamp};
use crate::store::{Objects, read_at};
use crate::table::Bytes;

use super::super::archive::sum_line;
use super::Maker;
use super::shapes::{Alike, Place, Shapes, is_below};
use super::stats::{extension_of, suffix_of};
use super::table::{self, Column, Format};
use super::terms::{context, media_type};
use super::walk::Found;

/// Tables described each; where there are more, less is looked at of each of these.
const TABLES: usize = 200;
/// Bytes that are looked at then.
const LITTLE: usize = 64 << 10;
/// Files of a sort described each.
const FEW: usize = 4;
/// Sorts told apart.
const SORTS: usize = 200;
/// The directory that all files are in, as an object.
const TREE: &str = "files";

/// A description that is being made.
pub struct Croissant<'a> {
    maker: &'a Maker<'a>,
    files: u64,
    bytes: u64,
    sums: Sha256,
    shapes: Shapes,
    /// The first tables, but for those that will be described together.
    tables: Vec<Table>,
    records: Vec<Value>,
    sorts: BTreeMap<(String, String), Sort>,
    ids: HashSet<String>,
}

/// Files of one extension in one directory at the top.
#[derive(Default)]
struct Sort {
    count: u64,
    first: Vec<File>,
}

/// A table that may be described by itself.
struct Table {
    file: File,
    extension: String,
    /// The directory that it counts as being in.
    place: Place,
    columns: Option<Vec<Column>>,
}

struct File {
    path: String,
    size: u64,
    sha256: String,
}

impl<'a> Croissant<'a> {
    /// Of nothing yet.
    pub fn new(maker: &'a Maker<'a>) -> Croissant<'a> {
        Croissant {
            maker,
            files: 0,
            bytes: 0,
            sums: Sha256::new(),
            shapes: Shapes::default(),
            tables: Vec::new(),
            records: Vec::new(),
            sorts: BTreeMap::new(),
            ids: HashSet::from([TREE.to_owned()]),
        }
    }

    /// Takes in what was found.
    pub fn take(&mut self, found: &Found<'_>) -> Result<()> {
        let Some(content) = found.inode.content().filter(|_| !found.purged) else { return Ok(()) };
        let sha256 = self.maker.digest(content, Algorithm::Sha256)?;
        self.sums.update(sum_line(&sha256, found.path));
        self.files += 1;
        self.bytes += content.size();
        let Ok(path) = std::str::from_utf8(found.path) else { return Ok(()) };
        let file = File { path: path.to_owned(), size: content.size(), sha256 };
        let extension = extension_of(found.path);
        let suffix = String::from_utf8_lossy(suffix_of(found.path)).into_owned();
        if let Some(format) = Format::of(&extension) {
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
            let is_first = self.has_room();
            let columns = match is_first || self.shapes.is_open(dir, &suffix) {
                true => self.columns(format, content, if is_first { table::SAMPLE } else { LITTLE })?,
                false => None,
            };
            let place = self.shapes.add(dir, &suffix, columns.as_deref());
            if is_first {
                self.tables.push(Table { file, extension, place, columns });
            }
            return Ok(());
        }
        let top = path.split_once('/').map_or("", |(top, _)| top);
        let sort = self.sorts.entry((top.to_owned(), suffix)).or_default();
        sort.count += 1;
        if sort.first.len() < FEW {
            sort.first.push(file);
        }
        if self.sorts.len() > 2 * SORTS {
            self.sorts = merge(std::mem::take(&mut self.sorts));
        }
        Ok(())
    }

    /// Whether another table may be described by itself. Now and then those that will not be make room.
    fn has_room(&mut self) -> bool {
        if self.tables.len() == TABLES && self.shapes.count().is_multiple_of(TABLES as u64) {
            let alike = self.shapes.alike(FEW as u64);
            self.tables.retain(|table| !is_among(&alike, &table.place));
        }
        self.tables.len() < TABLES
    }

    fn columns(&self, format: Format, content: &Content, most: usize) -> Result<Option<Vec<Column>>> {
        if format == Format::Parquet {
            let whole = Whole { objects: self.maker.objects().clone(), content: content.clone() };
            let bytes: Arc<dyn Bytes> = Arc::new(whole);
            return Ok(table::declared(&bytes));
        }
        let len = content.size().min(most as u64) as usize;
        let mut sample = vec![0; len];
        let mut at = 0;
        while at < len {
            match read_at(self.maker.objects(), content, at as u64, &mut sample[at..])? {
                0 => break,
                read => at += read,
            }
        }
        Ok(table::columns(format, &sample[..at], content.size() == at as u64))
    }

    /// An identifier of its own for something of that name.
    fn id(&mut self, name: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-/".contains(c) { c } else { '-' };
        let base: String = name.chars().map(plain).collect();
        let mut id = base.clone();
        let mut n = 2;
        while !self.ids.insert(id.clone()) {
            id = format!("{base}-{n}");
            n += 1;
        }
        id
    }

    /// The records of a file or, by `kind`, of a set of files.
    fn record_set(&mut self, kind: &str, source: &str, path: &str, columns: &[Column]) -> Value {
        let id = self.id(&format!("records/{path}"));
        let fields: Vec<Value> = columns
            .iter()
            .map(|column| {
                json!({
                    "@type": "cr:Field",
                    "@id": self.id(&format!("{id}/{}", column.name)),
                    "name": column.name,
                    "dataType": column.kind.name(),
                    "source": {kind: {"@id": source}, "extract": {"column": column.name}},
                })
            })
            .collect();
        json!({"@type": "cr:RecordSet", "@id": id, "name": path, "field": fields})
    }

    /// The description.
    pub fn finish(mut self) -> Result<Value> {
        let sums = std::mem::take(&mut self.sums).finalize();
        let sums = hex(&sums);
        let mut distribution = vec![json!({
            "@type": "cr:FileObject",
            "@id": TREE,
            "name": TREE,
            "description": "The directory of all files; sha256 is that of sha256sums, which lists them.",
            "contentUrl": "..",
            "encodingFormat": "inode/directory",
            "sha256": sums,
        })];
        self.tables(&mut distribution);
        if self.sorts.len() > SORTS {
            self.sorts = merge(std::mem::take(&mut self.sorts));
        }
        for ((top, extension), sort) in std::mem::take(&mut self.sorts) {
            if sort.count <= sort.first.len() as u64 {
                for file in &sort.first {
                    let id = self.id(&file.path);
                    distribution.push(object(&id, file, &extension));
                }
            } else {
                let above = if matches!(top.as_str(), "" | "*") { String::new() } else { format!("{top}/") };
                let kind = if matches!(extension.as_str(), "" | "*") { "others" } else { &extension };
                let id = self.id(&format!("{above}files-{kind}"));
                distribution.push(set(&id, &top, &extension, sort.count));
            }
        }
        self.head(distribution)
    }

    /// Describes the tables: all of them, or those of directories with more that are alike together and of
    /// others the first. The rest is a sort of files like others.
    fn tables(&mut self, distribution: &mut Vec<Value>) {
        let shapes = std::mem::take(&mut self.shapes);
        let are_many = shapes.count() > TABLES as u64;
        let alike = if are_many { shapes.alike(FEW as u64) } else { Vec::new() };
        let mut each: BTreeMap<Place, u64> = BTreeMap::new();
        for Table { file, extension, place, columns } in std::mem::take(&mut self.tables) {
            if is_among(&alike, &place) {
                continue;
            }
            *each.entry(place).or_default() += 1;
            let id = self.id(&file.path);
            distribution.push(object(&id, &file, &extension));
            if let Some(columns) = columns {
                let set = self.record_set("fileObject", &id, &file.path, &columns);
                self.records.push(set);
            }
        }
        for (place, own) in shapes.counts().filter(|(place, _)| !is_among(&alike, place)) {
            let rest = own - each.get(place).copied().unwrap_or(0);
            if rest > 0 {
                let top = place.0.split('/').next().unwrap_or_default().to_owned();
                self.sorts.entry((top, place.1.clone())).or_default().count += rest;
            }
        }
        for Alike { place: (dir, suffix), count, columns } in &alike {
            let above = if dir.is_empty() { String::new() } else { format!("{dir}/") };
            let id = self.id(&format!("{above}tables-{suffix}"));
            let within = if dir.is_empty() { "*" } else { dir };
            distribution.push(set(&id, within, suffix, *count));
            let records = self.record_set("fileSet", &id, &format!("{above}*.{suffix}"), columns);
            self.records.push(records);
        }
    }

    fn head(self, distribution: Vec<Value>) -> Result<Value> {
        let (dataset, version) = (self.maker.dataset, self.maker.tree.version());
        let said = dataset.annotation(version);
        let entry = dataset.log_entry(version)?;
        let description =
            said.get("description").map(str::to_owned).or(said.note.clone()).unwrap_or_else(|| {
                let (name, files, bytes) = (dataset.name(), self.files, self.bytes);
                format!("{version} of dataset {name}: {files} files of {bytes} bytes.")
            });
        let tagged = dataset.tags_of(version).into_iter().filter_map(|tag| tag.semantic()).max();
        let number = said.get("version").map(str::to_owned).or(tagged.map(|v| v.to_string()));
        let published = dataset.version_time(version)?;
        let mut head = json!({
            "@context": context(),
            "@type": "sc:Dataset",
            "conformsTo": "http://mlcommons.org/croissant/1.0",
            "name": said.get("name").unwrap_or(&dataset.name().to_string()),
            "description": description,
            "version": number.unwrap_or_else(|| format!("0.0.{}", version.0)),
            "datePublished": day(published),
            "identifier": format!("strata:{}", entry.snapshot),
            "distribution": distribution,
            "recordSet": self.records,
        });
        for (key, property) in [("license", "license"), ("url", "url"), ("cite", "citeAs")] {
            if let Some(value) = said.get(key) {
                head[property] = value.into();
            }
        }
        if let Some(creator) = said.get("creator") {
            head["creator"] = json!({"@type": "sc:Person", "name": creator});
        }
        if let Some(keywords) = said.get("keywords") {
            let words = keywords.split(',').map(str::trim).filter(|word| !word.is_empty());
            head["keywords"] = words.map(str::to_owned).collect();
        }
        Ok(head)
    }
}

/// Whether tables in a directory are among those that are described together.
fn is_among(alike: &[Alike], (dir, suffix): &Place) -> bool {
    alike.iter().any(|alike| alike.place.1 == *suffix && is_below(dir, &alike.place.0))
}

/// A content as bytes of a table.
struct Whole {
    objects: Arc<Objects>,
    content: Content,
}

impl Bytes for Whole {
    fn size(&self) -> u64 {
        self.content.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        read_at(&self.objects, &self.content, offset, out).map_err(io::Error::other)
    }
}

/// Sorts without regard to the directory; all in one, where these are too many too.
fn merge(sorts: BTreeMap<(String, String), Sort>) -> BTreeMap<(String, String), Sort> {
    let mut merged: BTreeMap<(String, String), Sort> = BTreeMap::new();
    let extensions: HashSet<String> = sorts.keys().map(|(_, extension)| extension.clone()).collect();
    for ((_, extension), sort) in sorts {
        let extension = if extensions.len() > SORTS { "*".to_owned() } else { extension };
        let into = merged.entry(("*".to_owned(), extension)).or_default();
        into.count += sort.count;
        let room = FEW.saturating_sub(into.first.len());
        into.first.extend(sort.first.into_iter().take(room));
    }
    merged
}

fn object(id: &str, file: &File, extension: &str) -> Value {
    json!({
        "@type": "cr:FileObject",
        "@id": id,
        "name": file.path,
        "contentUrl": format!("../{}", file.path),
        "contentSize": format!("{} B", file.size),
        "encodingFormat": media_type(extension),
        "sha256": file.sha256,
    })
}

/// Many files. The patterns are those of programs to which `*` is anything, and of those to which it ends at a
/// slash.
fn set(id: &str, top: &str, extension: &str, count: u64) -> Value {
    let name = match extension {
        "" | "*" => "*".to_owned(),
        extension => format!("*.{}", literally(extension)),
    };
    let includes = match top {
        "" => vec![name],
        "*" => vec![name.clone(), format!("**/{name}")],
        top => vec![format!("{}/{name}", literally(top)), format!("{}/**/{name}", literally(top))],
    };
    json!({
        "@type": "cr:FileSet",
        "@id": id,
        "name": id,
        "description": format!("{count} files"),
        "containedIn": {"@id": TREE},
        "encodingFormat": media_type(extension),
        "includes": includes,
    })
}

/// A pattern for a name.
fn literally(name: &str) -> String {
    name.chars().map(|c| if "*?[".contains(c) { format!("[{c}]") } else { c.to_string() }).collect()
}

fn day(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}
