//! What topics are sorted by.

use std::cmp::Ordering;

use crate::console::documents::Point;

/// What topics are sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Name,
    Rate,
    Slowest,
    Lag,
}

impl Order {
    /// The next one, round and round.
    pub fn next(self) -> Self {
        match self {
            Order::Name => Order::Rate,
            Order::Rate => Order::Slowest,
            Order::Slowest => Order::Lag,
            Order::Lag => Order::Name,
        }
    }

    /// Its name, as the last line shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Order::Name => "name",
            Order::Rate => "rate",
            Order::Slowest => "p99",
            Order::Lag => "lag",
        }
    }

    /// Sorts, the largest first; `key`: name, figures of the last seconds, and lag.
    pub fn sort<T>(self, rows: &mut [T], key: impl Fn(&T) -> (&str, Point, i64)) {
        rows.sort_by(|one, other| {
            let ((one, first, lag), (other, second, other_lag)) = (key(one), key(other));
            let by_figure = match self {
                Order::Name => Ordering::Equal,
                Order::Rate => second.rate.total_cmp(&first.rate),
                Order::Slowest => second.p99_ms.unwrap_or(-1.0).total_cmp(&first.p99_ms.unwrap_or(-1.0)),
                Order::Lag => other_lag.cmp(&lag),
            };
            by_figure.then_with(|| one.cmp(other))
        });
    }
}
