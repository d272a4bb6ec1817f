//! Texts about versions.

use crate::dataset::Error;
use crate::dataset::meta::About;
use crate::model::{Kind, VersionNo, show_path};
use crate::store::content::BLOCK;

use super::super::failure::Failure;
use super::super::object::ObjectSpec;
use super::{Service, Sink};

impl Service {
    pub(super) fn meta(&self, object: &ObjectSpec, about: About, sink: &mut dyn Sink) -> Result<(), Failure> {
        let (dataset, version, _reading) = self.version_of(object)?;
        if version == VersionNo::EMPTY {
            return Err(Failure::new(format!("{} has no version yet", dataset.name())));
        }
        let shown = || format!("{}@{version}/{}", dataset.name(), show_path(&object.path));
        let dir = match dataset.frozen(version).walk(&object.path)? {
            Some((dir, Kind::Dir)) => dir,
            Some(_) => return Err(Error::NotADirectory(shown()).into()),
            None => return Err(Error::NotFound(shown()).into()),
        };
        let told = self.repo.texts().get(&dataset, version, dir, about)?;
        let mut block = vec![0; told.text.len().min(BLOCK as u64) as usize];
        let mut at = 0;
        while at < told.text.len() {
            let read = told.text.read_at(at, &mut block);
            let read =
                read.map_err(|e| Failure::because(format!("cannot read {}", about.file_name()), &e))?;
            sink.data(&block[..read])?;
            at += read as u64;
        }
        Ok(())
    }
}
