//! Data loaders with worker processes, as training loops have them.

use crate::harness::*;
use crate::installed::python;

/// Worker processes, forked or started anew, that read shards in order and samples at random from one
/// pinned version get the same bytes in each epoch, whatever another process does to the live tree.
#[test]
fn loaders_read_a_pinned_version_beside_a_writer() {
    for start in ["fork", "spawn"] {
        let m = Mount::new();
        let d = m.dataset("d");
        run(python("loader.py").arg(d.root()).arg(start)).ok();
    }
}
