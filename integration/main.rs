//! The service as its users meet it: the real binary as child processes, a real Kafka, real HTTP. One file a promise.

mod harness;

mod crash;
mod deadline;
mod disconnect;
mod failures;
mod json;
mod json_predecessor;
mod kafka_down;
mod malformed;
mod management;
mod modes;
mod nginx;
mod overload;
mod recreated;
mod refusals;
mod round_trip;
mod routes;
mod settings;
mod shutdown;
mod topics;
