//! What a store that was opened after a failure must show of a recorded script.

use std::collections::BTreeMap;

use super::opened::Opened;
use super::recording::{Recording, State};
use super::script::{Node, Op, is_within};

/// What a disk's content came to when it was opened.
pub type Outcome = Result<Seen, String>;

/// How far the script got, by dataset: the numbers of the states it may be in, and whether half-way to
/// the next.
pub type Seen = BTreeMap<&'static str, Vec<(usize, bool)>>;

/// What is held against what is found.
pub struct Reference<'a> {
    pub recording: &'a Recording,
    /// All records there can be, in order.
    pub log: &'a [[u8; 32]],
    /// Where in the recorded script all this is, unless it is the script itself, and whether power had
    /// failed already.
    pub within: Option<(usize, bool)>,
}

/// What a store that was opened shows of the script.
pub fn seen(reference: &Reference<'_>, opened: &Opened) -> Outcome {
    let recording = reference.recording;
    if !reference.log.starts_with(&opened.log) {
        let common = reference.log.iter().zip(&opened.log).take_while(|(a, b)| a == b).count();
        return Err(format!("of {} records only the first {common} are a prefix", opened.log.len()));
    }
    if let Some(name) = opened.datasets.keys().find(|name| !recording.states.contains_key(name.as_str())) {
        return Err(format!("there is a dataset {name}"));
    }
    let mut all = Seen::new();
    for (dataset, states) in &recording.states {
        let found = opened.datasets.get(*dataset).map(|settings| settings.state());
        let mut fits = vec![];
        for (n, (_, state)) in states.iter().enumerate() {
            if *state == found {
                fits.push((n, false));
            }
            let next = states.get(n + 1).and_then(|(deed, _)| recording.deeds[(*deed)?].op.as_ref());
            if let (Some(state), Some(op)) = (state, next)
                && half_way(state, op).is_some_and(|half| Some(half) == found)
            {
                fits.push((n, true));
            }
        }
        if fits.is_empty() {
            let listed: Vec<_> = found.iter().flat_map(|state| state.tree.keys()).collect();
            return Err(format!("{dataset} is as it never was: {listed:?}"));
        }
        all.insert(dataset, fits);
    }
    Ok(all)
}

/// What may be seen while an operation is under way: a file made or emptied by being opened.
fn half_way(state: &State, op: &Op) -> Option<State> {
    let Op::Write(path, ..) = op else { return None };
    let mut half = state.clone();
    half.tree.insert((*path).to_owned(), Node::File(vec![]));
    is_within(path, op.dataset()).then_some(half)
}

/// What of the script is not there though it must be, or cannot be there yet. `at`: how far the script
/// had come; `power`: whether power failed.
pub fn judge(recording: &Recording, at: usize, power: bool, seen: &Seen) -> Option<String> {
    let done = |n: usize| recording.deeds[n].done <= at;
    // The last moment at which everything acknowledged before was made durable.
    let acknowledged = recording.deeds.iter().filter(|deed| deed.durable && deed.done <= at);
    let durable = acknowledged.map(|deed| deed.begun).max().unwrap_or(0);
    let must = |n: usize| {
        let deed = &recording.deeds[n];
        done(n) && (!power || deed.done < durable || deed.durable)
    };
    for (dataset, states) in &recording.states {
        let deed_of = |n: usize| states[n].0;
        let least = (0..states.len()).filter(|n| deed_of(*n).is_some_and(must)).max().unwrap_or(0);
        let begun = |n: &usize| deed_of(*n).is_none_or(|deed| recording.deeds[deed].begun <= at);
        let most = (0..states.len()).filter(begun).max().unwrap_or(0);
        let fits = &seen[dataset];
        let fit = |(n, half): &(usize, bool)| (least..=most).contains(n) && (!half || *n < most);
        if !fits.iter().any(fit) {
            return Some(format!("{dataset} is as after its deeds {fits:?}, not between {least} and {most}"));
        }
    }
    None
}
