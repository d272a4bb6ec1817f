//! What the fuzz targets have in common, beside the bodies.

use std::fs;
use std::path::Path;

mod bodies;

/// Runs a target on an input.
pub fn run(name: &str, bytes: &[u8]) {
    bodies::target(name).run(bytes);
}

/// Writes a target's valid inputs to the directory that `FUZZ_SEEDS` names, if it names one.
pub fn sow(name: &str) {
    let target = bodies::target(name);
    if let Some(dir) = std::env::var_os("FUZZ_SEEDS") {
        for (number, seed) in target.seeds().into_iter().enumerate() {
            let path = Path::new(&dir).join(format!("seed-{number:03}"));
            fs::write(&path, seed).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        }
    }
    target.warm_up();
}
