//! What the environment says of traces, by OpenTelemetry's own names, so that one set of variables serves all programs of a host.
//!
//! Where the receiver is, and which fields it wants, is read by the exporter itself, which passes over what it does not understand. Here that is
//! refused.

use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use percent_encoding::percent_decode_str;

use crate::exchange::Sampler;
use crate::process::https::Tls;
use crate::process::masked::MASK;

/// Where spans go unless a variable names a receiver.
const DEFAULT_RECEIVER: &str = "http://localhost:4318 (no OTEL_EXPORTER_OTLP_ENDPOINT)";

const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
// The first of two names goes before the second.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const COMPRESSIONS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const BATCH: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
const DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
const EXPORT_TIMEOUT: &str = "OTEL_BSP_EXPORT_TIMEOUT";
const CERTIFICATES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];
const CLIENT_CERTIFICATES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
];
const CLIENT_KEYS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];

/// Traces are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Where spans go, and the variable that says so: for the log.
    pub receiver: String,
    /// How long one request to the receiver may take.
    pub request_timeout: Duration,
    pub sampler: Sampler,
    /// How many ended requests wait for the exporter at most.
    pub queue: usize,
    /// How many spans are exported at once.
    pub batch: usize,
    /// How long a span waits for others.
    pub delay: Duration,
    /// How long one export may take, repetitions included.
    pub timeout: Duration,
    /// Whom the exporter trusts, and who it is.
    pub tls: Tls,
}

/// A variable that cannot be heeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value} cannot be used: {why}")]
pub struct EnvironmentError {
    pub name: String,
    pub value: String,
    pub why: &'static str,
}

impl Environment {
    /// Reads the variables; `None`: traces are off. An empty variable counts as none (OpenTelemetry's specification, Environment Variables).
    ///
    /// # Errors
    /// A variable asks for what is not there.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, EnvironmentError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        if set(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let endpoint = first(ENDPOINTS, set);
        match set(EXPORTER).as_deref() {
            Some("none") => return Ok(None),
            None if endpoint.is_none() => return Ok(None),
            None | Some("otlp") => {}
            Some(other) => return Err(refused(EXPORTER, other.into(), "it is otlp or none")),
        }
        if let Some((name, value)) = first(PROTOCOLS, set)
            && value != "http/protobuf"
        {
            let why = "spans go out as http/protobuf, to port 4318 of a collector";
            return Err(refused(name, value, why));
        }
        if let Some((name, value)) = first(COMPRESSIONS, set)
            && !value.eq_ignore_ascii_case("none")
        {
            return Err(refused(name, value, "spans go out uncompressed; unset it, or set none"));
        }
        if let Some((name, value)) = first(HEADERS, set)
            && !are_fields(&value)
        {
            return Err(refused(
                name,
                MASK.into(),
                "it is name=value,name=value, values percent-encoded",
            ));
        }
        let above_zero = |(name, value): (&str, String)| {
            let parsed = value.parse::<u64>().ok().filter(|number| *number > 0);
            parsed.ok_or_else(|| refused(name, value, "it is a whole number above 0"))
        };
        let number = |name, default| set(name).map_or(Ok(default), |value| above_zero((name, value)));
        let request_timeout = first(TIMEOUTS, set).map_or(Ok(10_000), above_zero)?;
        let path = |names| first(names, set).map(|(_, file)| file);
        Ok(Some(Environment {
            receiver: endpoint.map_or(Ok(DEFAULT_RECEIVER.into()), receiver)?,
            request_timeout: Duration::from_millis(request_timeout),
            sampler: sampler(set)?,
            queue: number(QUEUE, 2_048)? as usize,
            batch: number(BATCH, 512)? as usize,
            delay: Duration::from_millis(number(DELAY, 5_000)?),
            timeout: Duration::from_millis(number(EXPORT_TIMEOUT, 30_000)?),
            tls: Tls {
                ca: path(CERTIFICATES),
                cert: path(CLIENT_CERTIFICATES),
                key: path(CLIENT_KEYS),
                ..Tls::default()
            },
        }))
    }
}

fn first(names: [&str; 2], set: impl Fn(&str) -> Option<String>) -> Option<(&str, String)> {
    names.into_iter().find_map(|name| Some((name, set(name)?)))
}

fn refused(name: &str, value: String, why: &'static str) -> EnvironmentError {
    EnvironmentError {
        name: name.to_owned(),
        value,
        why,
    }
}

/// The receiver that a variable names. A query may hold a key, and is not shown.
fn receiver((name, value): (&str, String)) -> Result<String, EnvironmentError> {
    if value.contains('@') {
        let why = "a login in it would not be sent; it belongs into OTEL_EXPORTER_OTLP_HEADERS";
        return Err(refused(name, MASK.into(), why));
    }
    let uri = Uri::from_str(&value).ok();
    let is_http = uri.as_ref().and_then(Uri::scheme_str).is_some_and(is_http);
    match is_http && uri.as_ref().and_then(Uri::authority).is_some_and(is_reachable) {
        true => Ok(format!("{} ({name})", value.split('?').next().unwrap_or_default())),
        false => Err(refused(
            name,
            origin(&value),
            "it is a URL, as in http://collector:4318",
        )),
    }
}

fn is_http(scheme: &str) -> bool {
    matches!(scheme, "http" | "https")
}

/// `http` takes any text for a port, the first half of a login among them.
fn is_reachable(authority: &Authority) -> bool {
    authority.as_str().len() == authority.host().len() || authority.port_u16().is_some()
}

/// Of an address that is refused: its scheme, host and port. What is neither may be a secret.
fn origin(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            (format!("{scheme}://"), rest)
        }
        Some(_) => return MASK.to_owned(),
        None => (String::new(), text),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (place, more) = rest.split_at(end);
    match Authority::from_str(place) {
        Ok(authority) if is_reachable(&authority) && more.is_empty() => format!("{scheme}{place}"),
        Ok(authority) if is_reachable(&authority) => format!("{scheme}{place}/{MASK}"),
        _ => format!("{scheme}{MASK}"),
    }
}

/// Each part is a field that can be sent: the exporter would leave the others out.
fn are_fields(text: &str) -> bool {
    let mut parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.all(|part| {
        let Some((name, value)) = part.split_once('=') else {
            return false;
        };
        let value = percent_decode_str(value.trim()).decode_utf8().unwrap_or_default();
        !value.is_empty() && HeaderName::from_str(name.trim()).is_ok() && HeaderValue::from_str(&value).is_ok()
    })
}

fn sampler(set: impl Fn(&str) -> Option<String>) -> Result<Sampler, EnvironmentError> {
    let share = match set(SAMPLER_ARG) {
        None => 1.0,
        Some(value) => {
            let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
            share.ok_or_else(|| refused(SAMPLER_ARG, value, "it is a share, from 0 to 1"))?
        }
    };
    let Some(name) = set(SAMPLER) else {
        return Ok(Sampler::new(true, 1.0));
    };
    Ok(match &*name {
        "always_on" => Sampler::new(false, 1.0),
        "always_off" => Sampler::new(false, 0.0),
        "traceidratio" => Sampler::new(false, share),
        "parentbased_always_on" => Sampler::new(true, 1.0),
        "parentbased_always_off" => Sampler::new(true, 0.0),
        "parentbased_traceidratio" => Sampler::new(true, share),
        _ => {
            let why = "it is always_on, always_off or traceidratio, or one of them behind parentbased_";
            return Err(refused(SAMPLER, name, why));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Environment>, EnvironmentError> {
        Environment::read(|name| {
            let found = variables.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const RECEIVER: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn traces_are_off_unless_a_receiver_is_named() {
        for off in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[RECEIVER, ("OTEL_SDK_DISABLED", "true")],
            &[RECEIVER, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(read(off), Ok(None), "{off:?}");
        }
        for on in [
            &[RECEIVER][..],
            &[("OTEL_TRACES_EXPORTER", "otlp")],
            &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/v1/traces")],
        ] {
            let read = read(on).unwrap().unwrap();
            assert_eq!(
                (read.queue, read.batch, read.sampler),
                (2_048, 512, Sampler::new(true, 1.0))
            );
            assert_eq!(
                (read.delay, read.timeout),
                (Duration::from_secs(5), Duration::from_secs(30))
            );
        }
    }

    #[test]
    fn what_cannot_be_heeded_is_said() {
        for (name, value) in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector:4317"),
        ] {
            let error = read(&[RECEIVER, (name, value)]).unwrap_err();
            assert_eq!((&*error.name, &*error.value), (name, value));
        }
    }

    #[test]
    fn secrets_of_a_variable_that_cannot_be_heeded_are_not_said() {
        for headers in ["api-key", "api key=hunter2", "api-key=", "a=b,=hunter2", "a=%0Ahunter2"] {
            let error = read(&[RECEIVER, ("OTEL_EXPORTER_OTLP_HEADERS", headers)]).unwrap_err();
            assert_eq!(
                (&*error.name, &*error.value),
                ("OTEL_EXPORTER_OTLP_HEADERS", MASK),
                "{headers}"
            );
        }
        for (receiver, told) in [
            ("http://me:hunter2@collector:4318", MASK),
            ("http//me:hunter2@collector:4318", MASK),
            ("http://me:hunter2/@collector:4318", MASK),
            ("http://me:hunter2", "http://***"),
            ("grpc://collector:4317/?key=hunter2", "grpc://collector:4317/***"),
            ("collector:4318/hunter2", "collector:4318/***"),
            ("http://collector:4318/v1?key=hunter2 ", "http://collector:4318/***"),
            ("hunter2 ://collector", MASK),
        ] {
            let error = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", receiver)]).unwrap_err();
            assert_eq!(&*error.value, told, "{receiver}");
        }
    }

    #[test]
    fn what_the_exporter_heeds_is_taken() {
        let read = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:4318"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "https://collector/v1/traces?key=hunter2",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x-tenant=c,"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "8"),
        ]);
        let read = read.unwrap().unwrap();
        assert_eq!(read.request_timeout, Duration::from_millis(8));
        assert_eq!(
            read.receiver,
            "https://collector/v1/traces (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)"
        );
    }

    #[test]
    fn samplers_have_their_names() {
        for (name, expected) in [
            ("always_on", Sampler::new(false, 1.0)),
            ("always_off", Sampler::new(false, 0.0)),
            ("traceidratio", Sampler::new(false, 0.01)),
            ("parentbased_always_on", Sampler::new(true, 1.0)),
            ("parentbased_always_off", Sampler::new(true, 0.0)),
            ("parentbased_traceidratio", Sampler::new(true, 0.01)),
        ] {
            let set = [
                RECEIVER,
                ("OTEL_TRACES_SAMPLER", name),
                ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
            ];
            assert_eq!(read(&set).unwrap().unwrap().sampler, expected, "{name}");
        }
    }
}
