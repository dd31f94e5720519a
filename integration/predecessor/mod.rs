//! What worked with kafka-http-proxy 1.0.1 works with this service.

/// The json format carries what the native format carries.
mod json_format;
/// The location blocks of the predecessor's users.
mod nginx;
/// Either half of the predecessor works with the other half of this service.
mod other_half;
