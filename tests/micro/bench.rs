//! Micro-benchmarks of what every write and read goes through; `scripts/bench micro` runs them and shows them
//! beside figures that were kept.

mod bytes;
mod index;
mod tree;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .configure_from_args();
    bytes::chunker(&mut criterion);
    bytes::hashing(&mut criterion);
    tree::trie(&mut criterion);
    tree::manifest(&mut criterion);
    index::memory(&mut criterion);
    index::disk(&mut criterion);
    criterion.final_summary();
}
