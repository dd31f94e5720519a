//! A rate as a quota of `governor`, and who counts as one sender.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;

/// One each `1 / rate` seconds, and up to `burst` at once. `rate` is above 0. `None`: the rate is too high or too low to be limited.
pub fn per_second(rate: f64, burst: NonZeroU32) -> Option<Quota> {
    let period = Duration::try_from_secs_f64(1.0 / rate).ok()?;
    Some(Quota::with_period(period)?.allow_burst(burst))
}

/// The addresses that are one sender's: of IPv6 a whole /64, because a sender chooses the host part by itself.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}
