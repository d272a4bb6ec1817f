//! End-to-end tests: the real binary on a real mount, used by real tools.
//!
//! One module for each topic. A test's comment states the claim it proves; `man/strata.7` names the
//! test of each of its claims. Nothing here measures time, except where the contract is a time.

#[path = "../harness/mod.rs"]
mod harness;

mod annotations;
mod appends;
mod attributes;
mod blame;
mod bump;
mod bundle;
mod bundle_altered;
mod bundle_pipe;
mod bundle_pruned;
mod bundle_says;
mod cli;
mod colors;
mod compact;
mod completions;
mod control;
mod crash;
mod crowds;
mod damage;
mod deb;
mod deep;
mod diff;
mod diff_trees;
mod direct;
mod doctor;
mod dvc_remote;
mod errors;
mod export;
mod files;
mod frozen;
mod fstab;
mod history;
mod hostile;
mod hostile_rig;
mod import;
mod import_history;
mod import_missing;
mod joined;
mod manual;
mod meta;
mod mirror;
mod names;
mod opened;
mod outside_diff;
mod passthrough;
mod paths;
mod pinned;
mod pointers;
mod policies;
mod prefetch;
mod privileges;
mod purge_sharing;
mod purges;
mod quotas;
mod readers;
mod retention;
mod retention_gc;
mod rollback;
mod rot;
mod rot_rig;
mod security;
mod snapshots;
mod sparse;
mod systemd;
mod table_diffs;
mod table_values;
mod tags;
mod times;
mod users;
mod versions;
mod xattrs;
