//! A script done to a mount whose daemon's every call is recorded, and what it was told when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use stratafs::model::Policy;

use crate::harness::command::run;
use crate::harness::{Random, digits, noise, poll};

use super::opened::{Opened, Settings, Versions, open};
use super::rig::Rig;
use super::script::{Node, Op, Tree, is_within};
use super::trace::{Event, events};

/// A step of a script.
#[derive(Clone, Debug)]
pub enum Step {
    Do(Op),
    /// Some at once, each its own dataset in order.
    Crowd(Vec<Vec<Op>>),
    /// Until all was synced and indexed by itself.
    Wait,
    Unmount,
    /// Kills the daemon and mounts anew.
    Kill,
    /// With these options.
    Mount(&'static [&'static str]),
}

/// Something that was asked for and, unless power failed before, acknowledged.
#[derive(Debug)]
pub struct Deed {
    /// `None`: unmounting, which makes all durable.
    pub op: Option<Op>,
    /// Whether all before is durable once it is acknowledged.
    pub durable: bool,
    /// Where in the trace it was asked for and acknowledged.
    pub begun: usize,
    pub done: usize,
}

/// The dataset of which versions are pruned, so that its versions are looked at.
pub const PRUNED: &str = "k";

/// A dataset as its live tree shows it, and its versions where they are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub tree: Tree,
    pub policy: Policy,
    pub versions: Versions,
}

/// The number of a deed (`None`: before the first), and what its dataset was then, if there was one.
pub type Reached = (Option<usize>, Option<State>);

/// A recorded script.
pub struct Recording {
    pub events: Vec<Event>,
    pub deeds: Vec<Deed>,
    /// By dataset, in order.
    pub states: BTreeMap<&'static str, Vec<Reached>>,
    /// What the store came to.
    pub end: Opened,
}

/// The script of the power tests.
pub fn script() -> Vec<Step> {
    use Op::*;
    use Step::*;
    let mut steps = vec![
        Mount(&[]),
        Do(Mkdir("d")),
        Do(Write("d/a", noise(1, 3000), false)),
        Do(Write("d/big", noise(2, 50_000), false)),
        Do(Remember("d")),
        Do(Edit("d/big", vec![(10_000, noise(3, 3000)), (30_000, noise(4, 2000))], true)),
        Do(Mkdir("d/sub")),
        Do(Write("d/sub/x", noise(5, 9000), false)),
        Do(Rename("d/a", "d/sub/a")),
        Do(Write("d/new", noise(6, 7000), true)),
        Do(Rename("d/new", "d/sub/x")),
        Do(Unlink("d/sub/a")),
        Wait,
        Do(Mkdir("x")),
        Do(Rmdir("x")),
        Do(Mkdir("m")),
        Do(Policy("m", "manual")),
        Do(Write("m/p", noise(7, 8000), true)),
        Do(Write("m/q", noise(8, 8000), false)),
        Do(Commit("m")),
        Do(Unlink("m/p")),
        Do(Edit("m/q", vec![(100, noise(9, 100))], true)),
        Do(Tag("m", "kept")),
        Do(Mkdir("s")),
        Do(Policy("s", "settle=300ms")),
        Do(Write("s/one", noise(10, 4000), false)),
        Do(Write("s/one", noise(11, 4000), false)),
        Wait,
        Do(Write("s/two", noise(12, 4000), false)),
        Do(Rollback("d")),
        // A pack is full.
        Do(Write("d/long", noise(13, 60_000), false)),
        Do(Write("d/longer", noise(14, 90_000), false)),
        // Packs are compressed.
        Do(Write("d/text", digits(17, 300_000), false)),
        Do(Compact("d")),
        Do(Write("d/text", digits(18, 100_000), true)),
        Do(Mkdir("k")),
        Do(Write("k/f", noise(70, 6000), false)),
        Do(Tag("k", "kept")),
        Do(Write("k/f", noise(71, 40_000), false)),
        Do(Write("k/f", noise(72, 9000), true)),
        Do(Write("k/secret", noise(73, 7000), false)),
        Do(Unlink("k/secret")),
        Do(Write("k/g", noise(74, 30_000), false)),
        Do(Prune("k", 3)),
        Do(Gc("k", true)),
        Do(Write("k/again", noise(71, 40_000), false)),
        Do(Prune("k", 2)),
        Do(Gc("k", false)),
        Do(Purge("k/secret")),
        // Packs that were joined are joined with others.
        Do(Gc("k", true)),
        Kill,
        Do(Write("d/after", noise(15, 5000), false)),
        Do(Write("m/r", noise(16, 5000), true)),
    ];
    let scale = std::env::var("POWER_SCALE").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    steps.push(Do(Mkdir("r")));
    steps.extend(mixed("r", 7, 25 * scale).into_iter().map(Do));
    let crowd = ["w1", "w2", "w3"].into_iter().zip(0..).map(|(ds, n)| {
        let name = |file: &str| -> &'static str { Box::leak(format!("{ds}/{file}").into_boxed_str()) };
        vec![
            Mkdir(ds),
            Write(name("a"), noise(20 + n, 20_000), n == 1),
            Write(name("b"), noise(30 + n, 15_000), n == 2),
            Edit(name("a"), vec![(0, noise(40 + n, 100))], true),
            Unlink(name("b")),
            Write(name("c"), noise(50 + n, 12_000), false),
        ]
    });
    steps.push(Crowd(crowd.collect()));
    steps.extend([
        Wait,
        Unmount,
        Mount(&[]),
        Do(Write("d/last", noise(60, 5000), false)),
        Do(Write("d/last but one", noise(62, 9000), false)),
        Do(Write("d/big", noise(63, 30_000), false)),
        Do(Unlink("d/long")),
        Do(Write("d/last", noise(64, 9000), false)),
        Wait,
        Do(Write("d/late", noise(65, 9000), false)),
        Do(Rename("d/late", "d/last")),
        Do(Commit("m")),
        Do(Write("m/pending", noise(61, 5000), false)),
        Unmount,
    ]);
    steps
}

/// As many operations in a dataset, of all sorts, by seed.
fn mixed(dataset: &str, seed: u64, count: usize) -> Vec<Op> {
    let mut random = Random::new(seed);
    let names: Vec<&'static str> =
        (0..6).map(|n| &*Box::leak(format!("{dataset}/{n}").into_boxed_str())).collect();
    let (mut sizes, mut ops) = (BTreeMap::new(), vec![]);
    while ops.len() < count {
        let (name, other) = (names[random.below(6)], names[random.below(6)]);
        let sync = random.below(4) == 0;
        let longest = if random.below(5) == 0 { 40_000 } else { 3000 };
        let len = 1 + random.below(longest);
        let size = sizes.get(name).copied();
        match (random.below(6), size) {
            (0..=2, _) => {
                ops.push(Op::Write(name, random.bytes(len), sync));
                sizes.insert(name, len);
            }
            (3, Some(size)) => {
                let at = random.below(size);
                ops.push(Op::Edit(name, vec![(at as u64, random.bytes(len))], sync));
                sizes.insert(name, size.max(at + len));
            }
            (4, Some(size)) if name != other => {
                ops.push(Op::Rename(name, other));
                sizes.remove(name);
                sizes.insert(other, size);
            }
            (5, Some(_)) => {
                ops.push(Op::Unlink(name));
                sizes.remove(name);
            }
            _ => {}
        }
    }
    ops
}

/// A script on a mount on which every change is durable when its call returns.
pub fn durable_script() -> Vec<Step> {
    use Op::*;
    use Step::*;
    vec![
        Mount(&["--sync=always"]),
        Do(Mkdir("d")),
        Do(Write("d/a", noise(1, 3000), false)),
        Do(Edit("d/a", vec![(1000, noise(2, 500))], false)),
        Do(Mkdir("d/sub")),
        Do(Rename("d/a", "d/sub/a")),
        Do(Write("d/b", noise(3, 70_000), false)),
        Do(Unlink("d/sub/a")),
        Do(Rmdir("d/sub")),
        Do(Write("d/c", noise(4, 200_000), false)),
        Do(Mkdir("x")),
        Do(Rmdir("x")),
        Do(Write("d/d", noise(5, 5000), false)),
        Unmount,
    ]
}

/// A recording under way.
struct Recorder {
    rig: Rig,
    deeds: AtomicUsize,
    /// With whether each is durable once it is acknowledged.
    ops: Mutex<BTreeMap<usize, (Option<Op>, bool)>>,
    always: AtomicBool,
    noted: Mutex<String>,
}

impl Recording {
    pub fn of(script: Vec<Step>) -> Recording {
        let recorder = Recorder {
            rig: Rig::new(true),
            deeds: AtomicUsize::new(0),
            ops: Default::default(),
            always: AtomicBool::new(false),
            noted: Default::default(),
        };
        script.iter().for_each(|step| recorder.step(step));
        let events = events(&recorder.rig.shim.trace());
        let found = |mark: String| events.iter().position(|event| *event == Event::Mark(mark.clone()));
        let deeds = recorder.ops.into_inner().expect("no panic").into_iter().map(|(n, (op, durable))| Deed {
            op,
            durable,
            begun: found(format!("begun {n}")).expect("it was marked"),
            done: found(format!("done {n}")).expect("it was marked"),
        });
        let mut deeds: Vec<Deed> = deeds.collect();
        deeds.sort_by_key(|deed| deed.begun);
        let end = open(recorder.rig.mount.store()).expect("the store opens");
        let states = states(&deeds);
        let recording = Recording { events, deeds, states, end };
        for (dataset, states) in &recording.states {
            let (_, last) = states.last().expect("there is a state");
            let settings = recording.end.datasets.get(*dataset);
            assert_eq!(settings.map(Settings::state), *last, "the end of {dataset}");
        }
        recording
    }
}

impl Recorder {
    fn step(&self, step: &Step) {
        match step {
            Step::Do(op) => self.deed(Some(op.clone()), || {
                let noted = self.noted.lock().expect("no panic").clone();
                let point = self.rig.mount.point();
                let done = op.run(point, |arguments| self.rig.command(arguments), &noted);
                done.unwrap_or_else(|e| panic!("{op:.60?}: {e}"));
                if let Op::Remember(dataset) = op {
                    let version = self.rig.mount.existing(dataset).versions();
                    *self.noted.lock().expect("no panic") = format!("v{version}");
                }
            }),
            Step::Crowd(crowd) => thread::scope(|scope| {
                for ops in crowd {
                    scope.spawn(|| ops.iter().for_each(|op| self.step(&Step::Do(op.clone()))));
                }
            }),
            Step::Wait => {
                let synced = || self.rig.shim.count(super::shim::Class::Sync);
                poll("nothing is synced any more", || {
                    let before = synced();
                    thread::sleep(Duration::from_millis(1200));
                    synced() == before
                });
            }
            Step::Kill => {
                self.rig.mount.kill();
                self.rig.up(&[]).ok();
            }
            Step::Mount(options) => {
                self.always.store(options.contains(&"--sync=always"), Ordering::SeqCst);
                self.rig.up(options).ok();
            }
            Step::Unmount => self.deed(None, || {
                let busy = |stderr: &str| stderr.contains("is busy");
                poll("it is unmounted", || {
                    let ran = run(self.rig.command(&["umount"]).arg(self.rig.mount.point()));
                    busy(&ran.stderr) || ran.code == Some(0) || panic!("{}", ran.stderr)
                });
                self.rig.mount.gone();
            }),
        }
    }

    fn deed(&self, op: Option<Op>, act: impl FnOnce()) {
        let n = self.deeds.fetch_add(1, Ordering::SeqCst);
        let durable = op.as_ref().is_none_or(Op::syncs) || self.always.load(Ordering::SeqCst);
        self.ops.lock().expect("no panic").insert(n, (op, durable));
        self.rig.shim.mark(&format!("begun {n}"));
        act();
        self.rig.shim.mark(&format!("done {n}"));
    }
}

/// What each dataset is after each of its deeds; a deed's number with what it came to.
fn states(deeds: &[Deed]) -> BTreeMap<&'static str, Vec<Reached>> {
    let mut states = BTreeMap::new();
    let mut tree = Tree::new();
    let mut noted = Tree::new();
    let mut policies = BTreeMap::new();
    let (mut versions, mut newest, mut tagged) = (Versions::new(), 0, BTreeSet::new());
    for (n, op) in deeds.iter().enumerate().filter_map(|(n, deed)| Some((n, deed.op.as_ref()?))) {
        let dataset = op.dataset();
        op.apply(&mut tree, &noted);
        match op {
            Op::Remember(_) => noted = tree.clone(),
            Op::Policy(_, "manual") => drop(policies.insert(dataset, Policy::Manual)),
            Op::Policy(..) => {
                policies.insert(dataset, Policy::Settle(Duration::from_millis(300)));
            }
            _ => {}
        }
        let of =
            |(path, node): (&String, &Node)| is_within(path, dataset).then(|| (path.clone(), node.clone()));
        let policy = policies.get(dataset).copied().unwrap_or(Policy::EveryWrite);
        let is = tree.contains_key(dataset);
        let now: Tree = tree.iter().filter_map(of).collect();
        if dataset == PRUNED {
            match op {
                Op::Tag(..) => drop(tagged.insert(newest)),
                Op::Prune(_, last) => {
                    let count = versions.len() as u64;
                    let old: Vec<u64> =
                        versions.keys().copied().take(count.saturating_sub(*last) as usize).collect();
                    old.iter()
                        .filter(|version| !tagged.contains(*version))
                        .for_each(|old| drop(versions.remove(old)));
                }
                Op::Purge(path) => {
                    let nodes = versions.values_mut().filter_map(|tree: &mut Tree| tree.get_mut(*path));
                    nodes.for_each(|node| *node = Node::Purged);
                }
                op if op.makes_version() => {
                    newest += 1;
                    versions.insert(newest, now.clone());
                }
                _ => {}
            }
        }
        let versions = if dataset == PRUNED { versions.clone() } else { Versions::new() };
        let state = State { tree: now, policy, versions };
        states.entry(dataset).or_insert_with(|| vec![(None, None)]).push((Some(n), is.then_some(state)));
    }
    states
}
