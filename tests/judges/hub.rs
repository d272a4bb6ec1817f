//! Hugging Face `datasets`.

use crate::harness::*;
use crate::installed::python;

/// Hugging Face `datasets` loads parquet files of the live tree and of a version, with its cache in the
/// mount too, transforms them by several processes, and saves to and loads from the mount.
#[test]
fn hugging_face_datasets_work_in_the_mount() {
    let m = Mount::new();
    let d = m.dataset("d");
    run(python("hub.py").arg(d.root())).ok();
    m.strata(&["verify"]).ok();
}
