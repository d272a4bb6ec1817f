//! Archives and bundles that somebody else made.

use std::collections::HashSet;
use std::fs;
use std::io::{Cursor, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use stratafs::daemon::{ObjectSpec, Request, Service};
use stratafs::dataset::archive::{Contents, How, Owners, TarReader, What, export, read_archive};
use stratafs::dataset::bundle::bundle;
use stratafs::dataset::import::Teller;
use stratafs::dataset::{Error, Repo, Result};
use stratafs::model::{DatasetName, VersionNo};
use stratafs::store::Objects;
use tempfile::TempDir;

use super::samples::{self, BY};
use super::sockets::Counting;

/// Bytes of a block of a tar archive.
const BLOCK: usize = 512;
/// How a bundle begins.
const MAGIC: &[u8; 16] = b"strata bundle 5\n";
/// Bytes of a bundle's last frame.
const END: usize = 41;

/// A file's bytes, counted.
#[derive(Default)]
struct Counted(u64);

impl Contents for Counted {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.zeros(bytes.len() as u64)
    }

    fn zeros(&mut self, count: u64) -> Result<()> {
        self.0 = self.0.checked_add(count).expect("a file of more bytes than can be counted");
        Ok(())
    }
}

/// An archive of any form, read as an import does. Of a tar archive, the checksums of headers are made to fit.
pub fn archives(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for header in bytes.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    tar(&bytes);
    let path = samples::shared_dir().join("archive");
    fs::write(&path, &bytes).expect("write an archive");
    let owners = Owners { otherwise: (1, 2), keep: true, root: None };
    let mut told = |_| Ok(());
    // The files' content is hashed and kept nowhere.
    match read_archive(&Objects::hash_only(), &path, owners, &mut Teller::new(&mut told)) {
        Ok(_) => {}
        Err(Error::Invalid(why)) => assert!(why.len() > 20, "{why}"),
        Err(Error::Store(_)) => {}
        Err(other) => assert!(!other.to_string().is_empty()),
    }
}

/// A tar archive: each file has as many bytes as it says.
fn tar(bytes: &[u8]) {
    let mut reader = TarReader::new(bytes);
    while let Ok(Some(member)) = reader.next_member() {
        let mut counted = Counted::default();
        match (reader.contents(&member, &mut counted), &member.what) {
            (Ok(()), What::File { size, .. }) => assert_eq!(counted.0, *size, "{member:?}"),
            (Ok(()), _) => assert_eq!(counted.0, 0),
            (Err(_), _) => return,
        }
    }
    drop(reader.finish());
}

/// Archives of all forms.
pub fn archive_seeds() -> Vec<Vec<u8>> {
    let dir = samples::scratch_dir();
    let repo = samples::make_store(&dir.path().join("store"));
    let dataset = repo.dataset("d").expect("there it is");
    let mut seeds = Vec::new();
    for (preserve, sums) in [(true, true), (false, false)] {
        let tree = dataset.frozen(VersionNo(3));
        let snapshot = dataset.snapshot(VersionNo(3)).expect("it has one");
        let mut tar = Vec::new();
        let how = How { preserve, sums, without: &HashSet::new(), scratch: dir.path() };
        let done = export(repo.objects(), (&tree, snapshot), how, &mut |bytes| {
            tar.extend_from_slice(bytes);
            Ok(())
        });
        done.expect("export");
        seeds.push(tar);
    }
    seeds.push(gnu_tar());
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&seeds[1]).expect("compress");
    seeds.push(gz.finish().expect("compress"));
    seeds.push(zstd::bulk::compress(&seeds[1], 1).expect("compress"));
    seeds.push(zip());
    seeds
}

fn gnu_tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o644);
    tar.append_data(&mut header, format!("long/{}", "x".repeat(200)), &b"12345"[..]).expect("append");
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "link", "long").expect("append");
    let mut sparse = tar::Header::new_gnu();
    sparse.set_path("sparse").expect("a path");
    sparse.set_entry_type(tar::EntryType::GNUSparse);
    sparse.set_size(4);
    let gnu = sparse.as_gnu_mut().expect("of GNU");
    gnu.sparse[0].offset.copy_from_slice(b"00000001000\0");
    gnu.sparse[0].numbytes.copy_from_slice(b"00000000004\0");
    gnu.realsize.copy_from_slice(b"00000002000\0");
    sparse.set_cksum();
    tar.append(&sparse, &b"data"[..]).expect("append");
    tar.into_inner().expect("finish")
}

fn zip() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o640);
    zip.add_directory("dir", options).expect("add");
    zip.start_file("dir/file", options).expect("add");
    zip.write_all(&[b'a'; 3000]).expect("add");
    zip.add_symlink("dir/link", "file", options).expect("add");
    zip.finish().expect("finish").into_inner()
}

/// A service that bundles are imported into.
struct Served {
    dir: TempDir,
    service: Service,
    left: u32,
}

impl Served {
    fn new() -> Served {
        let dir = samples::scratch_dir();
        let repo = Repo::open(&dir.path().join("store"), false).expect("make a store");
        Served { dir, service: Service::new(Arc::new(repo), None), left: 500 }
    }
}

/// The frames of a bundle but for the last, which says that it is whole: imported, listed, told of.
pub fn bundles(bytes: &[u8]) {
    static SERVED: Mutex<Option<Served>> = Mutex::new(None);
    let mut served = SERVED.lock();
    if served.as_ref().is_none_or(|served| served.left == 0) {
        *served = Some(Served::new());
    }
    let served = served.as_mut().expect("made above");
    served.left -= 1;
    let mut whole = [MAGIC, bytes].concat();
    let hash = blake3::hash(&whole);
    whole.push(b'E');
    whole.extend(32_u64.to_be_bytes());
    whole.extend(hash.as_bytes());
    let source = served.dir.path().join("bundle");
    fs::write(&source, &whole).expect("write a bundle");
    let name = format!("b{}", served.left);
    let dataset = DatasetName::new(name.as_bytes()).expect("a name");
    let ask = |request| served.service.execute(BY, request, &mut Counting::default());
    let import =
        Request::Import { source, dataset: dataset.clone(), message: None, delete: false, checksum: false };
    if let Err(failure) = ask(import) {
        assert!(failure.message.len() > 10, "{failure:?}");
        return;
    }
    let spec = |text: &str| ObjectSpec::parse(text.as_ref()).expect("an object");
    drop(ask(Request::List(spec(&name))));
    drop(ask(Request::List(spec(&format!("{name}@v1")))));
    drop(ask(Request::Log { dataset: dataset.clone(), path: vec![], follow: false, limit: None }));
    drop(ask(Request::Show { dataset, version: None, limit: None }));
}

/// A bundle of the sample, with all its versions and with one.
pub fn bundle_seeds() -> Vec<Vec<u8>> {
    let dir = samples::scratch_dir();
    let repo = samples::make_store(&dir.path().join("store"));
    let dataset = repo.dataset("d").expect("there it is");
    let of = |last| {
        let mut bytes = Vec::new();
        let done = bundle(repo.store(), &dataset, VersionNo::EMPTY, last, &mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        });
        done.expect("bundle");
        bytes[MAGIC.len()..bytes.len() - END].to_vec()
    };
    vec![of(VersionNo(1)), of(VersionNo(2)), of(dataset.newest())]
}
