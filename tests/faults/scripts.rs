//! The scripts of rounds.

use crate::harness::{digits, noise};

use super::script::Op;

/// What a round does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Every sort of change, three datasets with the three policies, more than one pack.
    Changes,
    /// Giving up versions and content, and their space; calls fail from where that begins.
    Retention,
}

impl Script {
    /// What comes before calls fail, and what then.
    pub fn ops(self) -> (Vec<Op>, Vec<Op>) {
        match self {
            Script::Changes => (vec![], changes()),
            Script::Retention => retention(),
        }
    }
}

fn changes() -> Vec<Op> {
    use Op::*;
    let edits = |seed: u64, count: u64, step: u64, len: usize| {
        (0..count).map(|i| (i * step, noise(seed + i, len))).collect::<Vec<_>>()
    };
    vec![
        Mkdir("d"),
        Write("d/a", noise(1, 3000), false),
        Write("d/big", noise(2, 300_000), false),
        Remember("d"),
        Edit("d/big", edits(3, 3, 90_000, 4000), true),
        Mkdir("d/sub"),
        Write("d/sub/x", noise(4, 50_000), false),
        Rename("d/a", "d/sub/a"),
        Write("d/new", noise(5, 60_000), true),
        Rename("d/new", "d/sub/x"),
        Mkdir("m"),
        Policy("m", "manual"),
        Write("m/p", noise(6, 20_000), true),
        Commit("m"),
        Write("m/q", noise(7, 20_000), false),
        Mkdir("s"),
        Policy("s", "settle=1h"),
        Write("s/one", noise(8, 10_000), false),
        Write("s/one", noise(9, 10_000), true),
        // More than is kept in memory: this one goes through a scratch file.
        Write("d/long", vec![7; 6 << 20], false),
        Edit("d/long", edits(10, 50, 110_000, 100_000), false),
        Unlink("d/sub/a"),
        Tag("d", "kept"),
        // Half of it is saved: packs are compressed.
        Write("d/text", digits(13, 500_000), false),
        Compact("d"),
        Rollback("d"),
        Commit("d"),
        Write("d/last", noise(12, 1000), false),
    ]
}

fn retention() -> (Vec<Op>, Vec<Op>) {
    use Op::*;
    let before = vec![
        Mkdir("d"),
        Write("d/f", noise(1, 100_000), false),
        Tag("d", "kept"),
        Write("d/f", noise(2, 300_000), false),
        Write("d/text", digits(3, 300_000), false),
        Write("d/f", noise(4, 100_000), false),
        Write("d/secret", noise(5, 150_000), false),
        Write("d/g", noise(6, 50_000), false),
        Tag("d", "secret"),
        Unlink("d/secret"),
        Mkdir("o"),
        // Others have it too.
        Write("o/shared", noise(2, 300_000), false),
        Write("d/h", noise(7, 30_000), false),
        Unlink("o/shared"),
    ];
    let under = vec![
        Prune("d", 3),
        Gc("d", true),
        // Some of what was just given back.
        Write("d/again", digits(3, 300_000), false),
        Compact("d"),
        // Looks for what came of this alone.
        Prune("d", 2),
        Gc("d", false),
        Purge("d/secret"),
        Gc("d", true),
        Write("d/last", noise(8, 20_000), true),
    ];
    (before, under)
}
