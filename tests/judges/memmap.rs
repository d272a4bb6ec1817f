//! Mapped arrays: numpy.

use crate::harness::*;
use crate::installed::python;

/// numpy arrays mapped from files can be changed in place and grown; each flush is a version, which
/// can be mapped too and keeps its numbers.
#[test]
fn mapped_arrays_are_versions_at_each_flush() {
    let m = Mount::new();
    let d = m.dataset("d");
    run(python("memmap.py").arg(d.root())).ok();
    m.strata(&["verify"]).ok();
}
