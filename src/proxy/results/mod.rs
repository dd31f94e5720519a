//! Answers that are fetched later: a request is accepted with 202 once Kafka has it, and any proxy finds its result.
//!
//! - [`prefer`]: what a client would rather have.
//! - [`location`]: the id in a result's Location.
//! - [`places`]: which topics results are in.
//! - [`store`]: accepts requests, and serves results.
//! - [`cancel`]: ends a request, and removes its result.
//! - [`sender`]: writes requests and cancels, and waits until Kafka has them.
//! - [`pending`]: what a client gets while there is no result.
//! - [`reader`]: the actor that reads the results topics, and keeps the index.
//! - [`asked`]: what it asks Kafka.
//! - [`selection`]: what a record of them is to the index.
//! - [`index`]: where each result is.
//! - [`waiters`]: clients that wait for a result.
//! - [`view`]: how far the index is, and how it is asked.
//! - [`fetcher`]: reads a result by its offsets.
//! - [`body`]: a result that lies in several records.
//! - [`metrics`]: what is counted of them.

mod asked;
pub mod body;
mod cancel;
pub mod fetcher;
pub mod index;
pub mod location;
pub mod metrics;
mod pending;
pub mod places;
pub mod prefer;
pub mod reader;
pub mod selection;
pub mod sender;
pub mod store;
pub mod view;
mod waiters;
