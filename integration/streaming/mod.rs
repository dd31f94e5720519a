//! Answers that come in pieces, and bodies of any size.

/// What a processor does with requests that take streams; a test plays the proxy.
mod processor;
