//! What a processor does with requests that take streams; a test plays the proxy.

/// What it does with the control topic, and without it.
mod control_topic;
/// How a streamed answer ends before its body does.
mod cut_answers;
/// Which answers are streamed, and what is in the pieces.
mod pieces;
/// A test in the place of the proxy.
mod requester;
/// A processor that dies, stops, or loses a partition while answers stream.
mod stops;
