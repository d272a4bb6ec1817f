//! `strata pointer`

mod yaml;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::daemon::pointer::{EXTENSION, Pointer};
use crate::daemon::protocol::{DvcInfo, PointerInfo};
use crate::daemon::{Failure, Item, ObjectSpec, Request};

use super::Context;
use super::out::{JsonName, Out, ask, human};
use super::progress::Progress;
use super::values::{self, DatasetPath};

/// How the name of DVC's pointers ends, which it insists on.
const DVC_EXTENSION: &str = ".dvc";

/// Write a small file that points to a version, to be kept in git
///
/// The file says which content is meant: the snapshot id of the version, which is the same wherever the data
/// is, and of PATH, if one is given, what `strata hash` prints of it. `strata checkout` gives exactly that, and
/// `strata mount --at` mounts it. Commit it beside the code that uses the data. With --dvc, writes a pointer
/// of DVC: `dvc pull` fetches what it points to from the directory @dvc of the mounted dataset, as remote.
/// DVC knows files alone: where there are symbolic links or special files, --dvc fails. Without @VERSION, the
/// newest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  strata pointer imagenet@v12 -o data/imagenet.strata && git add data/imagenet.strata
  strata pointer imagenet@1.x train/labels.csv
  strata pointer imagenet@v12 --dvc && dvc remote add -d strata /data/imagenet/@dvc && dvc pull")]
pub struct Args {
    /// The file to write, - for standard output [default: name of what is pointed to, with .strata or .dvc]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a pointer of DVC
    #[arg(long)]
    dvc: bool,
    /// Print a JSON object: file, the fields of the pointer (strata, dataset, version, snapshot, path, kind,
    /// content, size, files, store), and with --dvc md5
    #[arg(long)]
    json: bool,
    /// What to point to
    #[arg(value_name = "DATASET[@VERSION][/PATH]", value_parser = values::object())]
    object: ObjectSpec,
    /// The file or directory of it that is meant
    #[arg(value_parser = values::path())]
    path: Option<DatasetPath>,
}

#[derive(Serialize)]
struct PointerJson<'a> {
    file: Option<&'a str>,
    #[serde(flatten)]
    pointer: &'a Pointer,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<&'a str>,
}

pub fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let Args { output, dvc, json, mut object, path } = args;
    object.path.extend(path.map(|path| path.0).unwrap_or_default());
    let name = match object.path.last() {
        Some(name) => OsStr::from_bytes(name.as_bytes()).to_owned(),
        None => object.dataset.as_str().into(),
    };
    let target = Target::new(output, name, if dvc { DVC_EXTENSION } else { EXTENSION }, dvc)?;
    if json && target.file.is_none() {
        return Err(Failure::usage("--json and the pointer cannot both go to standard output: say -o FILE"));
    }
    let mut progress = Progress::default();
    let request = Request::Pointer { object, dvc };
    ask(context.client()?, request, |out, item| match item {
        Item::Pointing { files, bytes } => {
            progress.counting(&format!("{files} files, {} looked at", human(bytes)));
            Ok(())
        }
        Item::Pointer(PointerInfo { pointer, pinned, dvc }) => {
            progress.clear();
            if !pinned {
                let (dataset, version) = (&pointer.dataset, pointer.version);
                eprintln!(
                    "note: the store takes no changes, so that {dataset}@{version} is not pinned and may be \
                     pruned: `strata pin {dataset}@{version}` once it does"
                );
            }
            let text = match &dvc {
                Some(dvc) => target.dvc_text(&pointer, dvc)?,
                None => pointer.to_text()?,
            };
            let Some(file) = &target.file else { return out.text(format_args!("{text}")) };
            write(file, text.as_bytes(), 0o666 & !context.umask)?;
            if let Some(empty) = dvc.as_ref().map(|dvc| dvc.empty_dirs).filter(|empty| *empty > 0) {
                eprintln!("note: DVC knows no empty directories: {empty} of them will not be there");
            }
            let md5 = dvc.as_ref().map(|dvc| dvc.md5.as_str());
            print(out, file, &pointer, md5, json)
        }
        _ => Ok(()),
    })
}

fn print(
    out: &mut Out,
    file: &Path,
    pointer: &Pointer,
    md5: Option<&str>,
    json: bool,
) -> Result<(), Failure> {
    let shown = JsonName::of(file.as_os_str().as_bytes());
    if json {
        return out.json(&PointerJson { file: Some(&shown.text), pointer, md5 });
    }
    out.name(file.as_os_str().as_bytes())?;
    let (files, size) = (pointer.files, human(pointer.size));
    let plural = if files == 1 { "" } else { "s" };
    out.text(format_args!(
        ": {}@{} ({:.12}), {files} file{plural}, {size}\n",
        pointer.dataset,
        pointer.version,
        pointer.snapshot.to_hex()
    ))
}

/// Where the pointer goes.
struct Target {
    /// The file; standard output where there is none.
    file: Option<PathBuf>,
    /// Name of the data beside it.
    data: OsString,
}

impl Target {
    fn new(
        output: Option<PathBuf>,
        name: OsString,
        extension: &str,
        strict: bool,
    ) -> Result<Target, Failure> {
        let file = match output {
            Some(file) if file.as_os_str() == "-" => return Ok(Target { file: None, data: name }),
            Some(file) => file,
            None => {
                let mut file = name.clone();
                file.push(extension);
                file.into()
            }
        };
        let stem = file.file_name().and_then(|name| name.as_bytes().strip_suffix(extension.as_bytes()));
        match stem.filter(|stem| !stem.is_empty()) {
            Some(stem) => {
                let data = OsString::from_vec(stem.to_vec());
                Ok(Target { file: Some(file), data })
            }
            None if strict => Err(Failure::usage(format!(
                "DVC takes no pointer named {}: its name must end in {extension}",
                file.display()
            ))),
            None => Ok(Target { file: Some(file), data: name }),
        }
    }

    /// The text of a pointer of DVC.
    fn dvc_text(&self, pointer: &Pointer, dvc: &DvcInfo) -> Result<String, Failure> {
        let path = self.data.to_str().ok_or_else(|| {
            Failure::new(format!("DVC knows no name that is not UTF-8: {}", self.data.display()))
                .hint("name the pointer by -o NAME.dvc")
        })?;
        let DvcInfo { md5, executable, .. } = dvc;
        let executable = if *executable { "  isexec: true\n" } else { "" };
        let files = if pointer.is_dir { format!("  nfiles: {}\n", pointer.files) } else { String::new() };
        let (size, path) = (pointer.size, yaml::text(path));
        Ok(format!("outs:\n- md5: {md5}\n  size: {size}\n{files}{executable}  hash: md5\n  path: {path}\n"))
    }
}

/// Writes a pointer as a whole, in place of one that is there, but of nothing else.
fn write(path: &Path, text: &[u8], mode: u32) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !is_pointer(path, &meta) => {
            return Err(Failure::new(format!("{} is there already, and is no pointer", path.display()))
                .hint("name another file by -o FILE"));
        }
        _ => {}
    }
    let failed = |e: io::Error| Failure::because(format!("cannot write {}", path.display()), &e);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fresh = dir.join(format!(".strata-pointer-{}", std::process::id()));
    let written = File::create_new(&fresh).and_then(|mut file| {
        file.write_all(text)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    });
    written.map_err(|e| {
        // Nothing is left to be said of it where it cannot be removed.
        let _ = fs::remove_file(&fresh);
        failed(e)
    })
}

/// Whether a file is a pointer, of ours or of DVC.
fn is_pointer(path: &Path, meta: &fs::Metadata) -> bool {
    let dvc = |text: Vec<u8>| text.is_empty() || text.windows(5).any(|part| part == b"outs:");
    meta.is_file()
        && (Pointer::read(path).is_ok()
            || path.extension().is_some_and(|extension| extension == "dvc")
                && meta.len() < 1 << 20
                && fs::read(path).is_ok_and(dvc))
}
