//! Work on very many items, shared between all processors.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::thread;

/// Fewer items are not worth another thread.
const SHARE_MIN: usize = 500;

/// What `work` gives for each share of the items, in their order: one share if they are few, else one for each
/// processor. Where no thread can be started, the caller's does it all.
pub fn in_shares<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut shares = items.chunks(items.len().div_ceil(processors).max(SHARE_MIN));
    let own = shares.next().unwrap_or_default();
    let work = &work;
    thread::scope(|scope| {
        let start = |share| (share, thread::Builder::new().spawn_scoped(scope, move || work(share)));
        let others: Vec<_> = shares.map(start).collect();
        let mut done = vec![work(own)];
        done.extend(others.into_iter().map(|(share, started)| match started.map(|thread| thread.join()) {
            Ok(joined) => joined.unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => work(share),
        }));
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_share_and_shares_are_in_order() {
        for count in [0, 1, SHARE_MIN, SHARE_MIN + 1, 100 * SHARE_MIN + 7] {
            let items: Vec<usize> = (0..count).collect();
            let shares = in_shares(&items, <[usize]>::to_vec);
            assert!(count > SHARE_MIN || shares.len() == 1, "{count} in {} shares", shares.len());
            assert_eq!(shares.concat(), items);
        }
    }
}
