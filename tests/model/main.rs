//! The file system against a simple model, without a mount: random operations on a dataset are done to
//! both; what the live tree shows, which calls fail and how, how many versions are made, and what every
//! version ever made shows must agree, also after rollbacks, after others were pruned and collected, after
//! closing and opening the store, and after its index was lost.

mod real;
mod simple;

use std::collections::BTreeMap;

use proptest::prelude::*;
use stratafs::fuse::errno;
use stratafs::model::VersionNo;

use real::{BY, Real};
use simple::{Model, NAMES, Shown, Target};

#[derive(Clone, Debug)]
enum Step {
    Write { at: Target, offset: usize, byte: u8, len: usize },
    Rewrite { at: Target },
    Truncate { at: Target, size: usize },
    Mkdir { at: Target },
    Rmdir { at: Target },
    Unlink { at: Target },
    Symlink { at: Target },
    Link { from: Target, to: Target },
    Rename { from: Target, to: Target, mode: u8 },
    Chmod { at: Target, mode: u32 },
    Copy { from: Target, to: Target },
    Rollback { back: usize },
    Prune { last: u64 },
    Collect,
    Reopen,
    Rebuild,
}

fn target() -> impl Strategy<Value = Target> {
    (proptest::option::of(0..NAMES.len()), 0..NAMES.len())
}

fn step() -> impl Strategy<Value = Step> {
    let two = || (target(), target());
    prop_oneof![
        6 => (target(), 0usize..200_000, any::<u8>(), 0usize..150_000)
            .prop_map(|(at, offset, byte, len)| Step::Write { at, offset, byte, len }),
        1 => target().prop_map(|at| Step::Rewrite { at }),
        2 => (target(), 0usize..300_000).prop_map(|(at, size)| Step::Truncate { at, size }),
        3 => target().prop_map(|at| Step::Mkdir { at }),
        1 => target().prop_map(|at| Step::Rmdir { at }),
        2 => target().prop_map(|at| Step::Unlink { at }),
        1 => target().prop_map(|at| Step::Symlink { at }),
        2 => two().prop_map(|(from, to)| Step::Link { from, to }),
        4 => (two(), 0u8..3).prop_map(|((from, to), mode)| Step::Rename { from, to, mode }),
        1 => (target(), prop_oneof![Just(0o644), Just(0o755)]).prop_map(|(at, mode)| Step::Chmod { at, mode }),
        2 => two().prop_filter("no file is copied to itself", |(from, to)| from != to)
            .prop_map(|(from, to)| Step::Copy { from, to }),
        1 => (0usize..6).prop_map(|back| Step::Rollback { back }),
        1 => (1u64..5).prop_map(|last| Step::Prune { last }),
        1 => Just(Step::Collect),
        1 => Just(Step::Reopen),
        1 => Just(Step::Rebuild),
    ]
}

/// Does a step to both and compares what they say.
fn apply(model: &mut Model, real: &Real, step: &Step) {
    let (expected, got) = match *step {
        Step::Write { at, offset, byte, len } => {
            let block: Vec<u8> = (0..len).map(|i| byte.wrapping_add((i / 7) as u8)).collect();
            (model.write(at, offset, &block), real.write(at, offset, &block))
        }
        Step::Rewrite { at } => (model.file(at).map(drop), real.rewrite(at)),
        Step::Truncate { at, size } => (model.truncate(at, size), real.truncate(at, size)),
        Step::Mkdir { at } => (model.mkdir(at), real.mkdir(at)),
        Step::Rmdir { at } => (model.rmdir(at), real.rmdir(at)),
        Step::Unlink { at } => (model.unlink(at), real.unlink(at)),
        Step::Symlink { at } => (model.symlink(at, "where/ever"), real.symlink(at, "where/ever")),
        Step::Link { from, to } => (model.link(from, to), real.link(from, to)),
        Step::Rename { from, to, mode } => (model.rename(from, to, mode), real.rename(from, to, mode)),
        Step::Chmod { at, mode } => (model.chmod(at, mode), real.chmod(at, mode)),
        Step::Copy { from, to } => (model.copy(from, to), real.copy(from, to)),
        Step::Rollback { .. } | Step::Prune { .. } | Step::Collect | Step::Reopen | Step::Rebuild => return,
    };
    assert_eq!(got.map_err(|error| errno(&error)), expected, "{step:?}");
}

fn check_versions(real: &Real, history: &BTreeMap<u64, Shown>) {
    for (number, expected) in history {
        assert_eq!(&real.version(*number), expected, "v{number}");
    }
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut model = Model::new();
    let mut real = Real::open(&store);
    let mut models: BTreeMap<u64, Model> = BTreeMap::new();
    let mut history: BTreeMap<u64, Shown> = BTreeMap::new();
    for step in steps {
        let (before, versions) = (model.clone(), real.versions());
        match step {
            Step::Rollback { back } => {
                let Some((&number, earlier)) = models.iter().rev().nth(back) else { continue };
                model = earlier.clone();
                real.dataset().rollback(BY, VersionNo(number), None, false, |_| ()).unwrap();
            }
            Step::Prune { last } => {
                real.prune(last);
                while history.len() > last as usize {
                    let (number, _) = history.pop_first().unwrap();
                    models.remove(&number);
                    assert!(!real.has_version(number), "v{number} was pruned");
                }
            }
            Step::Collect => {
                real.collect();
                check_versions(&real, &history);
            }
            Step::Reopen => {
                real.close();
                real = Real::open(&store);
            }
            Step::Rebuild => {
                real.close();
                std::fs::remove_dir_all(store.join("index")).unwrap();
                real = Real::open(&store);
            }
            ref step => apply(&mut model, &real, step),
        }
        let shown = model.shown();
        assert_eq!(real.live(), shown, "live tree after {step:?}");
        let made = real.versions() - versions;
        match step {
            // Going back to the newest version makes none.
            Step::Rollback { back } => assert_eq!(made, u64::from(back > 0), "{step:?}"),
            _ => assert_eq!(made, u64::from(model.differs(&before)), "versions made by {step:?}"),
        }
        if made > 0 {
            models.insert(real.versions(), model.clone());
            history.insert(real.versions(), shown);
        }
    }
    check_versions(&real, &history);
    real.close();
    let real = Real::open(&store);
    check_versions(&real, &history);
    real.close();
    std::fs::remove_dir_all(store.join("index")).unwrap();
    check_versions(&Real::open(&store), &history);
}

proptest! {
    // A failure that shrinks to something new becomes a named test below.
    #![proptest_config(ProptestConfig {
        cases: 48,
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_view_is_what_a_simple_model_says(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
}

/// The time of a write that changed nothing was taken for a change by the next call that did nothing.
#[test]
fn a_rename_to_itself_after_a_rewrite_makes_no_version() {
    let (a, b) = ((None, 0), (None, 1));
    run(vec![
        Step::Write { at: a, offset: 0, byte: 0, len: 0 },
        Step::Write { at: b, offset: 0, byte: 0, len: 0 },
        Step::Rewrite { at: a },
        Step::Rename { from: b, to: b, mode: 2 },
    ]);
}

/// The same, where the next call is one that would have a change of attributes recorded.
#[test]
fn a_mode_set_to_what_it_is_after_a_rewrite_makes_no_version() {
    let a = (None, 3);
    run(vec![
        Step::Write { at: a, offset: 0, byte: 0, len: 0 },
        Step::Rewrite { at: a },
        Step::Chmod { at: a, mode: 0o644 },
    ]);
}

/// Two directories that look the same are two all the same.
#[test]
fn swapping_two_empty_directories_makes_a_version() {
    let (a, b) = ((None, 0), (None, 1));
    run(vec![Step::Mkdir { at: a }, Step::Mkdir { at: b }, Step::Rename { from: a, to: b, mode: 2 }]);
}
