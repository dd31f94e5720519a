//! What a party that is not trusted can do: who may write to a topic, and who may read one.

/// Replies that somebody else wrote.
mod forged_replies;
/// Records that are larger than anybody's honest ones.
mod large_records;
/// Batches that cannot be unpacked.
mod poisoned_batches;
/// Requests that were written again.
mod repeated_requests;
/// Records that only who has the key can read or write.
mod sealed_records;
