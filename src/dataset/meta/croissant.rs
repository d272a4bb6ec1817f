//! `croissant.json`: a description of a version in Croissant 1.0, a form of JSON-LD.
//!
//! Tables are described each, with their columns. Of what else there is, a few files of a sort (an extension in a
//! directory at the top) are described each, many together, by a pattern. Files are named as seen from the
//! directory that the description is in, which is beside them. Files whose path is not UTF-8 are left out, and those whose
//! content was purged.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::dataset::digests::Algorithm;
use crate::dataset::error::Result;
use crate::model::{Content, Timestamp};
use crate::store::{Objects, read_at};
use crate::table::Bytes;

use super::super::archive::sum_line;
use super::Maker;
use super::stats::{extension_of, suffix_of};
use super::table::{self, Column, Format};
use super::walk::Found;

/// Tables described each.
const TABLES: usize = 200;
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
    tables: Vec<Value>,
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
        if let Some(format) = Format::of(&extension).filter(|_| self.tables.len() < TABLES) {
            let columns = self.columns(format, content)?;
            let id = self.id(path);
            self.tables.push(object(&id, &file, &extension));
            if let Some(columns) = columns {
                let set = self.record_set(&id, path, &columns);
                self.records.push(set);
            }
            return Ok(());
        }
        let top = path.split_once('/').map_or("", |(top, _)| top);
        let suffix = String::from_utf8_lossy(suffix_of(found.path)).into_owned();
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

    fn columns(&self, format: Format, content: &Content) -> Result<Option<Vec<Column>>> {
        if format == Format::Parquet {
            let whole = Whole { objects: self.maker.objects().clone(), content: content.clone() };
            let bytes: Arc<dyn Bytes> = Arc::new(whole);
            return Ok(table::declared(&bytes));
        }
        let len = content.size().min(table::SAMPLE as u64) as usize;
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

    fn record_set(&mut self, file: &str, path: &str, columns: &[Column]) -> Value {
        let id = self.id(&format!("records/{path}"));
        let fields: Vec<Value> = columns
            .iter()
            .map(|column| {
                json!({
                    "@type": "cr:Field",
                    "@id": self.id(&format!("{id}/{}", column.name)),
                    "name": column.name,
                    "dataType": column.kind.name(),
                    "source": {"fileObject": {"@id": file}, "extract": {"column": column.name}},
                })
            })
            .collect();
        json!({"@type": "cr:RecordSet", "@id": id, "name": path, "field": fields})
    }

    /// The description.
    pub fn finish(mut self) -> Result<Value> {
        if self.sorts.len() > SORTS {
            self.sorts = merge(std::mem::take(&mut self.sorts));
        }
        let sums = std::mem::take(&mut self.sums).finalize();
        let sums: String = sums.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut distribution = vec![json!({
            "@type": "cr:FileObject",
            "@id": TREE,
            "name": TREE,
            "description": "The directory of all files; sha256 is that of sha256sums, which lists them.",
            "contentUrl": "..",
            "encodingFormat": "inode/directory",
            "sha256": sums,
        })];
        distribution.append(&mut self.tables);
        for ((top, extension), sort) in std::mem::take(&mut self.sorts) {
            if sort.count <= sort.first.len() as u64 {
                for file in &sort.first {
                    let id = self.id(&file.path);
                    distribution.push(object(&id, file, &extension));
                }
            } else {
                let id = self.id(&format!("{top}/files-{extension}"));
                distribution.push(set(&id, &top, &extension, sort.count));
            }
        }
        self.head(distribution)
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
            head["keywords"] = keywords.split(',').map(|word| word.trim().to_owned()).collect();
        }
        Ok(head)
    }
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

fn media_type(extension: &str) -> &'static str {
    match extension.to_lowercase().as_str() {
        "csv" => "text/csv",
        "tsv" => "text/tab-separated-values",
        "jsonl" | "ndjson" => "application/jsonlines",
        "parquet" => "application/x-parquet",
        "json" => "application/json",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "html" | "htm" => "text/html",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "tif" | "tiff" => "image/tiff",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "flac" => "audio/flac",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}

/// The names that Croissant 1.0 gives to its terms.
fn context() -> Value {
    let mut context = json!({
        "@language": "en",
        "@vocab": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "sc": "https://schema.org/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
    });
    for term in [
        "citeAs",
        "column",
        "equivalentProperty",
        "extract",
        "field",
        "fileObject",
        "fileProperty",
        "fileSet",
        "format",
        "includes",
        "isLiveDataset",
        "jsonPath",
        "key",
        "md5",
        "parentField",
        "path",
        "recordSet",
        "references",
        "regex",
        "repeated",
        "replace",
        "samplingRate",
        "separator",
        "source",
        "subField",
        "transform",
    ] {
        context[term] = format!("cr:{term}").into();
    }
    context
}
