//! Texts to values. A value from a file or the environment is a text first, so `30`, `"30"` and `DEFAULT_TIMEOUT=30` are the same.
//! Each parser's error names what is allowed, and reads on from "… is not".

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::kafka::config::{ReplyPartition, Start};
use crate::process::telemetry::{AccessLog, LogFormat, is_filter};
use crate::process::tls::{ClientAuth, TlsVersion};
use crate::settings::model::{
    Async, BreakerMode, ClientKey, Delivery, HostHeader, IdempotencyMode, Ordering, RetryOn, Streaming,
};
use crate::settings::parse::number;
use crate::wire::Format;
use crate::wire::headers::name_is_legal;
use crate::wire::idempotency::Store;

/// What a parser returns: the value, or what would have been allowed.
pub type Parsed<T> = Result<T, &'static str>;

/// Longer than any timeout that makes sense, and short enough to be added to an `Instant` without overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A number of seconds, or a number with units.
pub fn duration(text: &str) -> Parsed<Duration> {
    const ALLOWED: &str = r#"a duration (seconds such as 30 or 0.5, or "250ms", "2m", "1h30m"; up to 365d)"#;
    let parsed = match number::real(text) {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => humantime::parse_duration(text).ok(),
    };
    parsed.filter(|duration| *duration <= LONGEST).ok_or(ALLOWED)
}

/// A duration that is not zero.
pub fn positive_duration(text: &str) -> Parsed<Duration> {
    const ALLOWED: &str = r#"a duration above 0 (seconds such as 30 or 0.5, or "250ms", "2m", "1h30m"; up to 365d)"#;
    duration(text)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or(ALLOWED)
}

/// A number of bytes above 0, or a number with a unit.
pub fn size(text: &str) -> Parsed<usize> {
    const ALLOWED: &str = r#"a size above 0 (bytes, or "900KiB", "1MB")"#;
    if let Some(bytes) = number::whole(text) {
        return Some(bytes).filter(|bytes| *bytes > 0).ok_or(ALLOWED);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(ALLOWED),
    };
    number
        .parse()
        .ok()
        .and_then(|n: usize| n.checked_mul(factor))
        .filter(|n| *n > 0)
        .ok_or(ALLOWED)
}

/// A number of bytes, 0 included.
pub fn size_or_zero(text: &str) -> Parsed<usize> {
    match number::whole(text) {
        Some(0) => Ok(0),
        _ => size(text).map_err(|_| r#"a size, 0 or more (bytes, or "900KiB", "1MB")"#),
    }
}

/// A whole number, 0 included.
pub fn whole<T: TryFrom<i128>>(text: &str) -> Parsed<T> {
    number::whole(text).ok_or("a whole number, 0 or more")
}

/// A whole number, 0 not included.
pub fn positive(text: &str) -> Parsed<usize> {
    number::whole(text)
        .filter(|n| *n > 0)
        .ok_or("a whole number, 1 or more")
}

/// `positive`, for counts that are small.
pub fn positive_u32(text: &str) -> Parsed<u32> {
    let number = number::whole(text).filter(|n| *n > 0);
    number.ok_or("a whole number, 1 or more")
}

/// A share of a whole; 0 = nothing.
pub fn share(text: &str) -> Parsed<f64> {
    let number = number::real(text).filter(|n| (0.0..=1.0).contains(n));
    number.ok_or("a number from 0 to 1")
}

/// Events per second.
pub fn rate(text: &str) -> Result<f64, &'static str> {
    number::real(text)
        .filter(|n| (0.001..=1_000_000.0).contains(n))
        .ok_or("a number from 0.001 to 1000000 (per second)")
}

/// Events at once.
pub fn burst(text: &str) -> Parsed<u32> {
    positive_u32(text)
}

/// See [`ClientKey`].
pub fn client_key(text: &str) -> Parsed<ClientKey> {
    match text.split_once(':') {
        None if text == "address" => Ok(ClientKey::Address),
        None if text == "everybody" => Ok(ClientKey::Everybody),
        Some(("header", name)) if name_is_legal(name) => Ok(ClientKey::Header(name.to_ascii_lowercase())),
        _ => Err("address, header:NAME or everybody"),
    }
}

/// Partitions or replicas of a topic to create.
pub fn broker_count(text: &str) -> Parsed<i32> {
    number::whole(text)
        .filter(|n| *n == -1 || *n > 0)
        .ok_or("a whole number, 1 or more, or -1 for the broker's default")
}

/// A TCP port.
pub fn port(text: &str) -> Parsed<u16> {
    number::whole(text).ok_or("a port, 0 to 65535")
}

/// Where to listen.
pub fn ip(text: &str) -> Parsed<IpAddr> {
    text.parse()
        .map_err(|_| "an IP address such as 0.0.0.0, 127.0.0.1 or ::")
}

/// Yes or no; the words people write into environment variables are understood too.
pub fn flag(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("true or false"),
    }
}

/// Any text that has something in it, on one line.
pub fn text(text: &str) -> Parsed<String> {
    let printable = !text.trim().is_empty() && !text.contains(char::is_control);
    printable
        .then(|| text.to_owned())
        .ok_or("a text of one line that is not empty")
}

/// A secret that a caller must present: too long to be guessed, and of characters that a header can hold.
pub fn token(text: &str) -> Parsed<String> {
    const SHORTEST: usize = 16;
    let sound = text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic());
    sound
        .then(|| text.to_owned())
        .ok_or("a token of at least 16 characters (ASCII, no blanks)")
}

/// The path of a file.
pub fn file(path: &str) -> Parsed<PathBuf> {
    text(path)
        .map(PathBuf::from)
        .map_err(|_| "a text of one line that is not empty, the path of a file")
}

/// See [`ClientAuth`].
pub fn client_auth(text: &str) -> Parsed<ClientAuth> {
    let known = [ClientAuth::Off, ClientAuth::Optional, ClientAuth::Required];
    let found = known.into_iter().find(|known| known.as_str() == text);
    found.ok_or("off, optional or required")
}

/// See [`TlsVersion`].
pub fn tls_version(text: &str) -> Parsed<TlsVersion> {
    match text {
        "1.2" => Ok(TlsVersion::V12),
        "1.3" => Ok(TlsVersion::V13),
        _ => Err("1.2 or 1.3"),
    }
}

/// A filter of `tracing`. `EnvFilter` takes a bare word for a module's name, so that a mistyped level would silence everything; such a
/// word is refused here.
pub fn log_filter(text: &str) -> Parsed<String> {
    is_filter(text)
        .then(|| text.to_owned())
        .ok_or("error, warn, info, debug, trace or off, or a filter such as actix_khp=debug,info")
}

/// See [`Format`].
pub fn wire_format(text: &str) -> Parsed<Format> {
    let known = [Format::Native, Format::Json];
    known
        .into_iter()
        .find(|format| format.as_str() == text)
        .ok_or("native or json")
}

/// See [`ReplyPartition`].
pub fn reply_partition(text: &str) -> Parsed<ReplyPartition> {
    match text {
        "auto" => Ok(ReplyPartition::Auto),
        "all" => Ok(ReplyPartition::All),
        number => match number::whole(number) {
            Some(n) if n >= 0 => Ok(ReplyPartition::Number(n)),
            _ => Err("auto, all, or a partition's number, 0 or more"),
        },
    }
}

/// See [`Ordering`].
pub fn ordering(text: &str) -> Parsed<Ordering> {
    match text {
        "unordered" => Ok(Ordering::Unordered),
        "key" => Ok(Ordering::Key),
        "partition" => Ok(Ordering::Partition),
        _ => Err("unordered, key or partition"),
    }
}

/// See [`Streaming`].
pub fn streaming(text: &str) -> Parsed<Streaming> {
    match text {
        "off" => Ok(Streaming::Off),
        "auto" => Ok(Streaming::Auto),
        "required" => Ok(Streaming::Required),
        _ => Err("off, auto or required"),
    }
}

/// See [`IdempotencyMode`].
pub fn idempotency(text: &str) -> Parsed<IdempotencyMode> {
    match text {
        "off" => Ok(IdempotencyMode::Off),
        "honour" => Ok(IdempotencyMode::Honour),
        "required" => Ok(IdempotencyMode::Required),
        _ => Err("off, honour or required"),
    }
}

/// See [`Store`].
pub fn store(text: &str) -> Parsed<Store> {
    Store::from_text(text.as_bytes()).ok_or("success or all")
}

/// See [`Async`].
pub fn asynchronous(text: &str) -> Parsed<Async> {
    match text {
        "off" => Ok(Async::Off),
        "allowed" => Ok(Async::Allowed),
        "required" => Ok(Async::Required),
        _ => Err("off, allowed or required"),
    }
}

/// See [`Delivery`].
pub fn delivery(text: &str) -> Parsed<Delivery> {
    match text {
        "at-least-once" => Ok(Delivery::AtLeastOnce),
        "at-most-once" => Ok(Delivery::AtMostOnce),
        _ => Err("at-least-once or at-most-once"),
    }
}

/// See [`RetryOn`].
pub fn retry_on(text: &str) -> Parsed<RetryOn> {
    match (text, number::whole(text)) {
        ("timeout", _) => Ok(RetryOn::Timeout),
        ("reset", _) => Ok(RetryOn::Reset),
        (_, Some(status @ 400..=599)) => Ok(RetryOn::Status(status)),
        _ => Err("timeout, reset, or a status from 400 to 599"),
    }
}

/// See [`BreakerMode`].
pub fn breaker_mode(text: &str) -> Parsed<BreakerMode> {
    match text {
        "reject" => Ok(BreakerMode::Reject),
        "pause" => Ok(BreakerMode::Pause),
        "off" => Ok(BreakerMode::Off),
        _ => Err("reject, pause or off"),
    }
}

/// See [`Start`].
pub fn start(text: &str) -> Parsed<Start> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => Err("earliest or latest"),
    }
}

/// See [`HostHeader`].
pub fn host(text: &str) -> Parsed<HostHeader> {
    match text {
        "backend" => Ok(HostHeader::Backend),
        "preserve" => Ok(HostHeader::Preserve),
        _ => Err("backend or preserve"),
    }
}

/// Is a backend's certificate checked? The word that says no cannot be taken for a harmless one.
pub fn tls_verify(text: &str) -> Parsed<bool> {
    match text {
        "full" => Ok(true),
        "none-dangerous" => Ok(false),
        _ => Err("full or none-dangerous"),
    }
}

/// See [`LogFormat`].
pub fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("text or json"),
    }
}

/// See [`AccessLog`].
pub fn access_log(text: &str) -> Parsed<AccessLog> {
    match text {
        "off" => Ok(AccessLog::Off),
        "errors" => Ok(AccessLog::Failures),
        "all" => Ok(AccessLog::All),
        _ => rate(text)
            .map(AccessLog::PerSecond)
            .map_err(|_| "off, errors, all or a number from 0.001 to 1000000 (lines per second)"),
    }
}

/// Are the queries of paths shown in the log?
pub fn log_query(text: &str) -> Parsed<bool> {
    match text {
        "masked" => Ok(false),
        "shown" => Ok(true),
        _ => Err("masked or shown"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
