//! An error in full: libraries say what failed, and leave why to what the error came from.

use std::iter::successors;

/// An error and what it came from, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let chain = successors(error.source(), |error| error.source());
    chain.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no answer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn what_an_error_came_from_is_said_behind_it() {
        let inner = std::io::Error::other("connection refused");
        assert_eq!(causes(&Outer(inner)), "no answer: connection refused");
        assert_eq!(causes(&std::io::Error::other("alone")), "alone");
    }
}
