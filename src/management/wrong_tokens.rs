//! How long a guess of the token takes: a second each, after ten wrong ones from the same address. In a fixed amount of memory, however
//! many addresses there are.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::process::rate::network;

/// Addresses that are told apart, 8 bytes each. Two that fall into the same cell count as one.
const CELLS: usize = 1 << 12;
/// Wrong tokens that cost nothing.
const FREE: u64 = 10;
/// What each further one costs.
const COST_MS: u64 = 1000;
/// Attempts that wait at once from one address; more are refused.
const WAITING: u64 = 10;
/// The log has one line in this time, whoever guesses.
const LOG_EVERY_MS: u64 = 60_000;

/// What becomes of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is answered after so long.
    After(Duration),
    /// Too many from its address wait already.
    Refused,
}

/// The wrong tokens of all addresses.
pub struct WrongTokens {
    /// Until when the wrong tokens of an address are paid for, in `monotonic_ms`.
    paid_until: Box<[AtomicU64]>,
    /// Random per process: nobody can aim at another's cell.
    hasher: RandomState,
    logged_at: AtomicU64,
}

impl Default for WrongTokens {
    fn default() -> Self {
        WrongTokens {
            paid_until: std::iter::repeat_with(AtomicU64::default).take(CELLS).collect(),
            hasher: RandomState::new(),
            logged_at: AtomicU64::new(0),
        }
    }
}

impl WrongTokens {
    /// Takes in an attempt. A right token counts nothing, and waits as long as a wrong one would.
    pub fn attempt(&self, from: IpAddr, is_right: bool, now_ms: u64) -> Attempt {
        let cell = (self.hasher.hash_one(network(from)) % CELLS as u64) as usize;
        let wait = |paid_until: u64| (paid_until + COST_MS).saturating_sub(now_ms + FREE * COST_MS);
        let cost = if is_right { 0 } else { COST_MS };
        let paid = self.paid_until[cell].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid_until| {
            let paid_until = paid_until.max(now_ms);
            (wait(paid_until) <= WAITING * COST_MS).then_some(paid_until + cost)
        });
        let waits = paid.map(|before| wait(before.max(now_ms)));
        if waits != Ok(0) && !is_right {
            self.log(from, now_ms);
        }
        match waits {
            Ok(ms) => Attempt::After(Duration::from_millis(ms)),
            Err(_) => Attempt::Refused,
        }
    }

    fn log(&self, from: IpAddr, now_ms: u64) {
        let due = self
            .logged_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                (last == 0 || now_ms >= last + LOG_EVERY_MS).then_some(now_ms.max(1))
            });
        if due.is_ok() {
            tracing::warn!(%from, "wrong management tokens: each further one from this address waits a second");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn waits(tokens: &WrongTokens, is_right: bool, now_ms: u64) -> Option<u64> {
        match tokens.attempt(ADDRESS, is_right, now_ms) {
            Attempt::After(wait) => Some(wait.as_millis() as u64),
            Attempt::Refused => None,
        }
    }

    #[test]
    fn ten_are_free_and_each_further_one_waits_for_those_before_it() {
        let tokens = WrongTokens::default();
        for _ in 0..10 {
            assert_eq!(waits(&tokens, false, 5_000), Some(0));
        }
        assert_eq!(waits(&tokens, true, 5_000), Some(1_000), "the right one tells nothing");
        for second in 1..=10 {
            assert_eq!(waits(&tokens, false, 5_000), Some(second * 1_000));
        }
        assert_eq!(waits(&tokens, false, 5_000), None);
        assert_eq!(waits(&tokens, true, 5_000), None);
        assert_eq!(
            waits(&tokens, false, 6_000),
            Some(10_000),
            "a second later there is room for one"
        );
    }

    #[test]
    fn a_right_token_costs_nothing_and_wrong_ones_are_forgotten() {
        let tokens = WrongTokens::default();
        for _ in 0..100 {
            assert_eq!(waits(&tokens, true, 5_000), Some(0));
        }
        for _ in 0..20 {
            waits(&tokens, false, 5_000);
        }
        assert_eq!(waits(&tokens, true, 25_000), Some(0));
        for now in 0..100 {
            assert_eq!(
                waits(&tokens, false, 30_000 + now * 1_000),
                Some(0),
                "one a second is no guessing"
            );
        }
    }

    #[test]
    fn the_host_part_of_an_ipv6_address_is_not_another_address() {
        let tokens = WrongTokens::default();
        let attempt = |last: u16| tokens.attempt(format!("2001:db8::{last:x}").parse().unwrap(), false, 5_000);
        for last in 0..10 {
            assert_eq!(attempt(last), Attempt::After(Duration::ZERO));
        }
        assert_ne!(attempt(99), Attempt::After(Duration::ZERO));
    }
}
