//! The space gate: refuses data while the disk is nearly full, so that deletions, versions and the
//! index still find room, and lets it in again as soon as there is space.

use std::io;
use std::time::{Duration, Instant};

use super::media::Room;

/// Free space kept from everything.
const FLOOR: u64 = 1 << 20;
/// How long, and for how many bytes written, a look at the disk is good.
const FRESH: Duration = Duration::from_millis(50);
const FRESH_BYTES: u64 = 1 << 20;

/// What is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// File content.
    Data,
    /// Records that deletions need too.
    Record,
}

/// Tells whether there is room, from a recent look at the disk.
#[derive(Debug, Default)]
pub struct Gate {
    seen: Option<(Instant, Room)>,
    written: u64,
}

impl Gate {
    /// Whether `bytes` may be written; if so they count as written.
    pub fn admit(
        &mut self,
        claim: Claim,
        bytes: u64,
        look: impl FnOnce() -> io::Result<Room>,
    ) -> io::Result<bool> {
        if !(self.is_fresh() && self.allows(claim, bytes)) {
            self.seen = Some((Instant::now(), look()?));
            self.written = 0;
        }
        // However long the look took, it is the best there is.
        let admitted = self.allows(claim, bytes);
        if admitted {
            self.written += bytes;
        }
        Ok(admitted)
    }

    fn is_fresh(&self) -> bool {
        self.written < FRESH_BYTES && self.seen.is_some_and(|(at, _)| at.elapsed() < FRESH)
    }

    /// What the last look says.
    fn allows(&self, claim: Claim, bytes: u64) -> bool {
        let keep = |room: Room| match claim {
            Claim::Data => reserve(room.total),
            Claim::Record => FLOOR,
        };
        let needed = |room| keep(room).saturating_add(self.written).saturating_add(bytes);
        self.seen.is_some_and(|(_, room)| room.free >= needed(room))
    }
}

/// Free space that data may not use, in bytes.
pub fn reserve(total: u64) -> u64 {
    (total / 20).clamp(4 << 20, 64 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn admit(gate: &mut Gate, claim: Claim, bytes: u64, free: u64) -> bool {
        gate.admit(claim, bytes, || Ok(Room { total: 100 * MIB, free })).unwrap()
    }

    #[test]
    fn data_leaves_the_reserve_and_records_leave_the_floor() {
        assert_eq!((reserve(0), reserve(100 * MIB), reserve(u64::MAX)), (4 * MIB, 5 * MIB, 64 * MIB));
        assert!(!admit(&mut Gate::default(), Claim::Data, 1, 5 * MIB));
        assert!(admit(&mut Gate::default(), Claim::Data, 1, 5 * MIB + 1));
        assert!(admit(&mut Gate::default(), Claim::Record, MIB, 2 * MIB));
        assert!(!admit(&mut Gate::default(), Claim::Record, MIB, 2 * MIB - 1));
    }

    #[test]
    fn a_slow_look_is_as_good_as_a_fast_one() {
        let slow = || {
            std::thread::sleep(FRESH * 2);
            Ok(Room { total: 100 * MIB, free: 50 * MIB })
        };
        assert!(Gate::default().admit(Claim::Data, 1, slow).unwrap());
    }

    #[test]
    fn what_was_admitted_counts_until_the_next_look() {
        let mut gate = Gate::default();
        assert!(admit(&mut gate, Claim::Data, MIB / 2, 6 * MIB));
        assert!(admit(&mut gate, Claim::Data, MIB / 2 - 1, 0), "the last look still holds");
        assert!(!admit(&mut gate, Claim::Data, 2, 0), "used up, so the disk is asked again");
        assert!(admit(&mut gate, Claim::Data, 2, 6 * MIB), "and space freed is seen at once");
    }
}
