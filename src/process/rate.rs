//! A rate as a quota of `governor`.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;

/// One each `1 / rate` seconds, and up to `burst` at once. `rate` is above 0. `None`: the rate is too high or too low to be limited.
pub fn per_second(rate: f64, burst: NonZeroU32) -> Option<Quota> {
    let period = Duration::try_from_secs_f64(1.0 / rate).ok()?;
    Some(Quota::with_period(period)?.allow_burst(burst))
}
