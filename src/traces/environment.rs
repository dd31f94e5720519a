//! What the environment says of traces, by OpenTelemetry's own names. Where a receiver is, which fields it wants, and how long it may take is
//! read by the exporter itself; its settings are OpenTelemetry's, so that one set of variables serves all programs of a host.

use std::time::Duration;

use opentelemetry_otlp::{OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT};

use crate::exchange::Sampler;
use crate::process::https::Tls;

const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
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
        let refused = |name: &str, value: String, why| EnvironmentError {
            name: name.to_owned(),
            value,
            why,
        };
        if set(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let names_receiver =
            set(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT).is_some() || set(OTEL_EXPORTER_OTLP_ENDPOINT).is_some();
        match set(EXPORTER).as_deref() {
            Some("none") => return Ok(None),
            None if !names_receiver => return Ok(None),
            None | Some("otlp") => {}
            Some(other) => return Err(refused(EXPORTER, other.into(), "it is otlp or none")),
        }
        if let Some((name, value)) = first(PROTOCOLS, set)
            && value != "http/protobuf"
        {
            let why = "spans go out as http/protobuf, to port 4318 of a collector";
            return Err(refused(name, value, why));
        }
        let number = |name: &str, default: u64| match set(name) {
            None => Ok(default),
            Some(value) => {
                let parsed = value.parse().ok().filter(|number| *number > 0);
                parsed.ok_or_else(|| refused(name, value, "it is a whole number above 0"))
            }
        };
        let path = |names| first(names, set).map(|(_, file)| file);
        Ok(Some(Environment {
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

fn sampler(set: impl Fn(&str) -> Option<String>) -> Result<Sampler, EnvironmentError> {
    let share = match set(SAMPLER_ARG) {
        None => 1.0,
        Some(value) => {
            let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
            share.ok_or_else(|| EnvironmentError {
                name: SAMPLER_ARG.into(),
                value,
                why: "it is a share, from 0 to 1",
            })?
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
            return Err(EnvironmentError {
                name: SAMPLER.into(),
                value: name,
                why: "it is always_on, always_off or traceidratio, or one of them behind parentbased_",
            });
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
        ] {
            let error = read(&[RECEIVER, (name, value)]).unwrap_err();
            assert_eq!((&*error.name, &*error.value), (name, value));
        }
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
