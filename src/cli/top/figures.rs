//! How numbers are written where there is little room.

use std::time::Duration;

/// A count in four places or so: `12`, `3.4k`, `56M`.
pub fn count(number: f64) -> String {
    let units = ["", "k", "M", "G", "T"];
    let (mut rest, mut unit) = (number, 0);
    while rest >= 10_000.0 || (unit > 0 && rest >= 1000.0) {
        if unit + 1 == units.len() {
            break;
        }
        rest /= 1000.0;
        unit += 1;
    }
    match unit > 0 && rest < 10.0 {
        true => format!("{rest:.1}{}", units[unit]),
        false => format!("{rest:.0}{}", units[unit]),
    }
}

/// Events per second: a small rate is not nothing.
pub fn rate(number: f64) -> String {
    match number {
        0.0 => "0".into(),
        small if small < 10.0 => format!("{small:.1}"),
        more => count(more),
    }
}

/// A time in ms; `None`: nothing came.
pub fn ms(time: Option<f64>) -> String {
    match time {
        None => "-".into(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 1000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1000.0),
    }
}

/// Seconds; `None`: there are none.
pub fn seconds(time: Option<f64>) -> String {
    time.map_or_else(|| "-".into(), |seconds| format!("{seconds:.1} s"))
}

/// A long time, in its two largest units.
pub fn long(time: Duration) -> String {
    let (minutes, seconds) = (time.as_secs() / 60, time.as_secs() % 60);
    let (hours, days) = (minutes / 60, minutes / 60 / 24);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_little_room() {
        let counts = [
            0.0,
            7.0,
            9999.0,
            10_000.0,
            123_456.0,
            9_999_999.0,
            268_435_456.0,
            1e15,
            1e18,
        ]
        .map(count);
        let expected = ["0", "7", "9999", "10k", "123k", "10.0M", "268M", "1000T", "1000000T"];
        assert_eq!(counts, expected);
        assert_eq!(
            [0.0, 0.25, 9.96, 10.4, 12_345.0].map(rate),
            ["0", "0.2", "10.0", "10", "12k"]
        );
        assert_eq!(
            [None, Some(0.04), Some(12.3), Some(2345.0)].map(ms),
            ["-", "0.0 ms", "12 ms", "2.3 s"]
        );
        assert_eq!([None, Some(3.06)].map(seconds), ["-", "3.1 s"]);
        let times = [5, 65, 3700, 90_000].map(|seconds| long(Duration::from_secs(seconds)));
        assert_eq!(times, ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
    }
}
