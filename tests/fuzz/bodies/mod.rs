//! What is fuzzed: for each sort of bytes that come from outside, a body that decodes them and checks more
//! than that nothing panics, valid inputs to start from, and how much memory an input may take.
//!
//! cargo-fuzz runs the bodies on what it finds by coverage (`scripts/fuzz`), `tests/fuzzed` on mutations of
//! the valid inputs (`cargo test`).

mod archives;
mod compressed;
mod files;
mod input;
pub mod logs;
mod meter;
mod records;
mod samples;
mod search;
mod sockets;
mod stores;
mod tables;
mod text;

/// A body and what belongs to it.
pub struct Target {
    /// Its name, as cargo-fuzz has it.
    pub name: &'static str,
    body: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes of memory it may have at once for each byte of input.
    each: usize,
    /// And for an input of no bytes.
    base: usize,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The targets. What sets the memory: serde makes room for up to 1 MiB of a list before it has come, at
/// each level of lists; a scan has two buffers of 256 KiB; a frame of up to 4 MiB is made room for at once;
/// an open store has caches.
#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    Target { name: "pack_header", body: logs::headers, seeds: logs::header_seeds, each: 64, base: 64 * KIB },
    Target { name: "pack_footer", body: logs::footers, seeds: logs::footer_seeds, each: 64, base: 64 * KIB },
    Target { name: "pack_log", body: logs::scans, seeds: logs::seeds, each: 64, base: 2 * MIB },
    Target { name: "compressed_pack", body: compressed::packs, seeds: compressed::seeds, each: 64, base: 16 * MIB },
    Target { name: "records", body: records::records, seeds: records::record_seeds, each: 256, base: 4 * MIB },
    Target { name: "index_values", body: records::index_values, seeds: records::index_seeds, each: 256, base: 4 * MIB },
    Target { name: "identity", body: records::identity, seeds: records::identity_seeds, each: 64, base: 64 * KIB },
    Target { name: "manifest", body: files::manifests, seeds: files::manifest_seeds, each: 512, base: 4 * MIB },
    Target { name: "working_file", body: files::working_file, seeds: files::working_seeds, each: 64, base: 16 * MIB },
    Target { name: "at_path", body: text::at_path, seeds: text::at_seeds, each: 64, base: 64 * KIB },
    Target { name: "command_line", body: text::command_line, seeds: text::command_seeds, each: 256, base: 4 * MIB },
    Target { name: "control", body: sockets::frames, seeds: sockets::frame_seeds, each: 64, base: 5 * MIB },
    Target { name: "requests", body: sockets::requests, seeds: sockets::request_seeds, each: 64, base: 16 * MIB },
    Target { name: "bit_flips", body: search::bit_flips, seeds: search::seeds, each: 64, base: 64 * KIB },
    Target { name: "archive", body: archives::archives, seeds: archives::archive_seeds, each: 1024, base: 16 * MIB },
    Target { name: "bundle", body: archives::bundles, seeds: archives::bundle_seeds, each: 1024, base: 64 * MIB },
    Target { name: "table", body: tables::tables, seeds: tables::seeds, each: 1024, base: 16 * MIB },
    Target { name: "recovery", body: stores::recovery, seeds: logs::seeds, each: 256, base: 16 * MIB },
    Target { name: "store", body: stores::whole_store, seeds: stores::seeds, each: 1024, base: 64 * MIB },
];

/// The target of that name.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target of that name")
}

impl Target {
    /// Valid inputs.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }

    /// Runs the body on nothing: what is allocated once belongs to no input.
    pub fn warm_up(&self) {
        (self.body)(&[]);
    }

    /// Runs the body on `bytes`; gives the most bytes of memory it had at once.
    ///
    /// # Panics
    /// Where what it checks does not hold.
    pub fn run(&self, bytes: &[u8]) -> usize {
        let peak = meter::peak(|| (self.body)(bytes));
        let allowed = self.base + self.each * bytes.len();
        assert!(
            peak <= allowed,
            "{peak} bytes of memory for {} of input, {allowed} are allowed",
            bytes.len()
        );
        peak
    }
}
