//! What worked with kafka-http-proxy 1.0.1 works with this service.

/// The json format carries what the native format carries.
mod json_format;
/// The predecessor's location blocks, and those that this project ships.
mod nginx;
/// Each half of the predecessor works with the other half of this service.
mod other_half;
/// The predecessor's files and environments.
mod settings;
