//! The daemon is killed with SIGKILL, again and again, while many write.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::check::{Figures, Policy, Subject, read_journals, wait_for_writers};
use crate::harness::*;
use crate::listing::Lister;
use crate::process::{Crowd, now};
use crate::{say, setting};

/// Writers on datasets of each policy, and several on one.
pub fn subjects(dir: &Path) -> Vec<Subject> {
    vec![
        Subject::new(dir, "one", Policy::EveryWrite, 1),
        Subject::new(dir, "two", Policy::EveryWrite, 1),
        Subject::new(dir, "burst", Policy::Settle, 1),
        Subject::new(dir, "manual", Policy::Manual, 1),
        Subject::new(dir, "shared", Policy::EveryWrite, 3),
    ]
}

/// What can happen to the index of a store that nobody uses.
fn harm_index(store: &Path, how: usize) {
    let index = store.join("index");
    match how {
        0 => fs::remove_dir_all(index).expect("remove the index"),
        1 => {
            let bytes = fs::read(index.join("db")).expect("read the index");
            fs::write(index.join("db"), &bytes[..bytes.len() / 2]).expect("cut the index");
        }
        2 => {
            let mut bytes = fs::read(index.join("db")).expect("read the index");
            bytes.iter_mut().skip(512).step_by(97).for_each(|byte| *byte ^= 0x55);
            fs::write(index.join("db"), bytes).expect("garble the index");
        }
        _ => {
            let last =
                fs::read_dir(store.join("packs")).expect("list packs").map(|e| e.expect("entry").path());
            let mut file = OpenOptions::new().append(true).open(last.max().expect("a pack")).expect("open");
            file.write_all(&noise(7, 3000)).expect("tear the end of the log");
        }
    }
}

/// As many rounds have a store together: it grows, and with it the time that looking at all of it takes.
const ROUNDS_OF_A_STORE: usize = 50;

/// After each of many kills at random moments, with writers under every policy, every close and every
/// change of a name that had returned is there, every version is what its writer made it, and none that
/// was there before has changed; also where the index was lost or ruined, and the log's end torn.
#[test]
fn every_close_is_there_after_many_kills() {
    let rounds: usize = setting("SOAK_KILLS", 5);
    let seed: u64 = setting("SOAK_SEED", 1);
    let (mut total, mut harmed, mut done) = (Figures::default(), 0, 0);
    while done < rounds {
        let some = ROUNDS_OF_A_STORE.min(rounds - done);
        let (figures, harms) = kills(some, seed * 1000 + done as u64);
        total.add(figures);
        harmed += harms;
        done += some;
        say(format!(
            "kill: {done} rounds (seed {seed}), the index or the log's end harmed in {harmed}; {} versions \
             compared with the journals and {} with what they were; changes lost: {}",
            total.compared, total.again, total.lost
        ));
    }
}

/// Rounds on a new store; gives what was compared, and how often something was harmed.
fn kills(rounds: usize, seed: u64) -> (Figures, usize) {
    let m = Mount::unmounted_for(Duration::from_secs(300 + 60 * rounds as u64));
    let dir = m.outside();
    let mut random = Random::new(seed);
    let mut subjects = subjects(&dir);
    let (mut total, mut harmed) = (Figures::default(), 0);
    for round in 0..rounds {
        if round == 0 {
            m.up(&[]);
            subjects.iter().for_each(|subject| subject.make(&m));
        }
        let mut crowd = Crowd::default();
        let more = json!({"may_go": true, "largest": if round % 4 == 0 { 3_000_000 } else { 300_000 }});
        crowd.start_writers(&m, &dir, &subjects, seed + round as u64, &more);
        wait_for_writers(&subjects);
        thread::sleep(Duration::from_millis(random.below(1000) as u64));
        let killed = now();
        m.kill();
        crowd.wait(Duration::from_secs(60), true);
        if random.below(3) == 0 {
            harm_index(m.store(), random.below(4));
            harmed += 1;
        }
        m.up(&[]);
        read_journals(&mut subjects, f64::INFINITY);
        let mut lister = Lister::default();
        for subject in &mut subjects {
            let least: Vec<_> = subject.journals.iter().map(|j| j.returned_by(f64::INFINITY)).collect();
            let figures = subject.check(&m, &mut lister, &least, killed, 10, &mut random);
            total.add(Figures { versions: 0, ..figures });
            assert_eq!(figures.lost, 0, "{}: nothing that had returned is lost", subject.name);
        }
        if round % 20 == 19 || round + 1 == rounds {
            m.strata(&["verify"]).ok();
        }
    }
    (total, harmed)
}
