//! A guard for going from directory to directory in trees that somebody else may have recorded: they may
//! lead in a circle.

use crate::model::Ino;
use crate::store;

use super::error::Result;

/// Counts the steps of a climb, and breaks it off where it comes by the same directory again.
#[derive(Debug, Default)]
pub struct Climb {
    steps: u64,
    mark: Option<Ino>,
}

impl Climb {
    /// Steps to a directory.
    ///
    /// # Errors
    /// Where the way leads in a circle, after going round it at most a few times.
    pub fn step(&mut self, to: Ino) -> Result<()> {
        if self.mark == Some(to) {
            return Err(store::Error::Corrupt(format!("directory {} is within itself", to.0)).into());
        }
        self.steps += 1;
        if self.steps.is_power_of_two() {
            self.mark = Some(to);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_left_and_long_ways_are_not() {
        let walk = |way: &mut dyn Iterator<Item = u64>| {
            let mut climb = Climb::default();
            way.map(Ino).try_for_each(|ino| climb.step(ino))
        };
        assert!(walk(&mut (1..100_000)).is_ok());
        for len in [1, 2, 3, 1000] {
            assert!(walk(&mut (1..50).chain((100..100 + len).cycle()).take(100_000)).is_err(), "{len}");
        }
    }
}
