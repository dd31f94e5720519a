//! Why a broker cannot be used: one log line for each broker and cause, however many clients meet it and however often.
//!
//! librdkafka reports each failed connection, and each of the process's clients has its own. A cause counts as over once the broker answers
//! the probe, or once nobody has reported it for `QUIET`; when it comes back after that, it is logged again.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

/// While a cause persists, librdkafka repeats its report at least every 30 s (`rd_kafka_broker_set_error`).
const QUIET: Duration = Duration::from_secs(65);
/// Some reports mean trouble only if they repeat: a broker that is being stopped causes one, too. Reports of several clients at the same
/// moment are one event.
const REPEATED_AFTER: Duration = Duration::from_secs(1);

/// A report that comes this soon after the broker's answer is about the time before: each client reports on a thread of its own.
const LATE: Duration = Duration::from_secs(2);

/// A connection that ends sooner than this was closed at its first requests; librdkafka's own bound (`rd_kafka_broker_set_error`).
const EARLY_MILLIS: u32 = 2_000;

/// What keeps a client from using a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Cause {
    /// Its name has no address.
    NameUnknown,
    /// Its port takes no connection.
    Unconnected,
    /// TLS cannot be agreed on.
    Tls,
    /// It wants a certificate, and does not take ours.
    Certificate,
    /// It refuses the login.
    Login,
    /// It closes the connection in a way that a wrong `security.protocol` would explain.
    Protocol,
}

/// The troubles of this process. One for all clients, which meet the same brokers.
static TROUBLES: LazyLock<Troubles> = LazyLock::new(Troubles::default);

/// Takes in a report of librdkafka's, and logs it if its cause is new. False: it is no such report.
pub(super) fn report(text: &str) -> bool {
    let Some(Report { broker, cause, reason }) = Report::read(text) else {
        return false;
    };
    if !TROUBLES.is_news(broker, cause, Instant::now()) {
        tracing::debug!(target: "librdkafka", broker, reason, "a Kafka broker is still in trouble");
        return true;
    }
    match cause {
        Cause::NameUnknown => {
            tracing::warn!(
                event = "kafka",
                broker,
                reason,
                "the name of a Kafka broker does not resolve: check kafka.bootstrap_servers, and the broker's advertised.listeners"
            );
        }
        Cause::Unconnected => tracing::warn!(event = "kafka", broker, reason, "a Kafka broker takes no connection"),
        Cause::Tls => {
            tracing::error!(
                event = "kafka",
                broker,
                reason,
                "no TLS with a Kafka broker: check security.protocol and ssl.* in kafka.properties"
            );
        }
        Cause::Certificate => {
            tracing::error!(
                event = "kafka",
                broker,
                reason,
                "a Kafka broker refuses this client's certificate: it is missing, has expired, or is of another authority; check ssl.certificate.* in kafka.properties"
            );
        }
        Cause::Login => {
            tracing::error!(
                event = "kafka",
                broker,
                reason,
                "a Kafka broker refuses the login: check security.protocol and sasl.* in kafka.properties"
            );
        }
        Cause::Protocol => {
            tracing::error!(
                event = "kafka",
                broker,
                reason,
                "a Kafka broker closes each connection: check security.protocol in kafka.properties"
            );
        }
    }
    true
}

/// This broker (`host:port`, with a scheme and an id or not) has just answered: its troubles are over.
pub fn answered(broker: &str) {
    TROUBLES.end(address(broker), Instant::now());
}

/// What a line of librdkafka's says of a broker.
#[derive(Debug, PartialEq, Eq)]
struct Report<'a> {
    /// `host:port`, or the name librdkafka has for a broker without an address.
    broker: &'a str,
    cause: Cause,
    /// librdkafka's words, or the broker's.
    reason: &'a str,
}

impl<'a> Report<'a> {
    /// Reads `[thrd:NAME]: NAME: REASON (after 3ms in state CONNECT)`, or the same without the thread.
    fn read(text: &'a str) -> Option<Self> {
        let text = match text.strip_prefix("[thrd:") {
            Some(rest) => rest.split_once("]: ")?.1,
            None => text,
        };
        let (name, mut reason) = text.split_once(": ")?;
        let mut broker = address(name);
        // A coordinator is a broker under another name; its address follows.
        if !broker.contains(':')
            && let Some((address, rest)) = reason.split_once(": ")
            && is_address(address)
        {
            (broker, reason) = (address, rest);
        }
        let (reason, state) = reason.rsplit_once(" (after ").unwrap_or((reason, ""));
        let cause = cause_of(reason, state)?;
        Some(Report { broker, cause, reason })
    }
}

/// `sasl_ssl://host:9092/1` as `host:9092`.
fn address(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, name)| name);
    name.split_once('/').map_or(name, |(address, _)| address)
}

fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// By librdkafka's texts, since its codes do not tell: a refused port and a broken TLS handshake are both "transport failures". `state` is
/// `3ms in state UP`, perhaps with more behind it.
fn cause_of(reason: &str, state: &str) -> Option<Cause> {
    let has = |part: &str| reason.contains(part);
    if reason.starts_with("Failed to resolve") {
        Some(Cause::NameUnknown)
    } else if reason.starts_with("Connect to ") || has("onnection setup timed out") {
        Some(Cause::Unconnected)
    } else if has("SSL alert") && (has("certificate") || has("unknown ca")) {
        // In TLS 1.3 the broker looks at it after the handshake.
        Some(Cause::Certificate)
    } else if reason.starts_with("SSL ")
        || has("SSL alert")
        || has("SSL connection handshake")
        || has("broker certificate")
        || has("provide a certificate")
    {
        Some(Cause::Tls)
    } else if has("might be caused by incorrect security.protocol")
        || has("verify that security.protocol")
        || has("increase receive.message.max.bytes")
        || (reason.starts_with("Disconnected") && is_too_early(state))
    {
        Some(Cause::Protocol)
    } else if has("SASL") || has("Sasl") {
        Some(Cause::Login)
    } else {
        None
    }
}

/// A broker that is well does not close a connection at the first requests. One that expects TLS or a login does.
fn is_too_early(state: &str) -> bool {
    let Some((millis, state)) = state.split_once("ms in state ") else {
        return false;
    };
    state.starts_with("APIVERSION_QUERY")
        || (state.starts_with("UP") && millis.parse().is_ok_and(|millis: u32| millis < EARLY_MILLIS))
}

/// The causes that persist, by broker.
#[derive(Default)]
struct Troubles(ArcSwap<HashMap<(String, Cause), Trouble>>);

#[derive(Clone, Copy)]
struct Trouble {
    first: Instant,
    last: Instant,
    is_logged: bool,
    /// When the broker answered after it.
    over: Option<Instant>,
}

impl Troubles {
    /// Takes in a report at `now`; true: it is to be logged.
    fn is_news(&self, broker: &str, cause: Cause, now: Instant) -> bool {
        let mut is_news = false;
        self.0.rcu(|troubles| {
            let mut troubles = HashMap::clone(troubles);
            troubles.retain(|_, trouble| now.saturating_duration_since(trouble.last) <= QUIET);
            // A broker that is gone has closed its connections: no wrong protocol is needed to explain that.
            let of_broker = |cause| (broker.to_owned(), cause);
            let is_gone = troubles
                .get(&of_broker(Cause::Unconnected))
                .is_some_and(|trouble| trouble.over.is_none());
            if cause == Cause::Unconnected || is_gone {
                troubles.remove(&of_broker(Cause::Protocol));
            }
            if cause == Cause::Protocol && is_gone {
                is_news = false;
                return troubles;
            }
            let fresh = Trouble {
                first: now,
                last: now,
                is_logged: false,
                over: None,
            };
            let trouble = troubles.entry(of_broker(cause)).or_insert(fresh);
            match trouble.over {
                Some(over) if now.saturating_duration_since(over) < LATE => {
                    is_news = false;
                    return troubles;
                }
                Some(_) => *trouble = fresh,
                None => trouble.last = now,
            }
            let is_sure = cause != Cause::Protocol || now.saturating_duration_since(trouble.first) >= REPEATED_AFTER;
            // The last run of this closure counts: earlier ones lost to another thread.
            is_news = is_sure && !trouble.is_logged;
            trouble.is_logged |= is_sure;
            troubles
        });
        is_news
    }

    fn end(&self, broker: &str, now: Instant) {
        let is_open =
            |((troubled, _), trouble): (&(String, Cause), &Trouble)| troubled == broker && trouble.over.is_none();
        if self.0.load().iter().any(is_open) {
            self.0.rcu(|troubles| {
                let mut troubles = HashMap::clone(troubles);
                for ((troubled, _), trouble) in &mut troubles {
                    if troubled == broker && trouble.over.is_none() {
                        trouble.over = Some(now);
                    }
                }
                troubles
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(&str, Cause)> {
        Report::read(text).map(|report| (report.broker, report.cause))
    }

    #[test]
    fn librdkafkas_words_tell_broker_and_cause() {
        for (text, broker, cause) in [
            (
                "[thrd:no.such.host:9092/1]: no.such.host:9092/1: Failed to resolve 'no.such.host:9092': Name or service not known (after 3ms in state CONNECT)",
                "no.such.host:9092",
                Cause::NameUnknown,
            ),
            (
                "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT, 3 identical error(s) suppressed)",
                "127.0.0.1:1",
                Cause::Unconnected,
            ),
            (
                "[thrd:GroupCoordinator]: GroupCoordinator: 10.0.0.1:9092: Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
                "10.0.0.1:9092",
                Cause::Unconnected,
            ),
            (
                "ssl://a:9093/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? (after 5ms in state SSL_HANDSHAKE)",
                "a:9093",
                Cause::Tls,
            ),
            (
                "ssl://a:9093/bootstrap: Receive failed: ssl/record/rec_layer_s3.c:918:ssl3_read_bytes error:0A000416:SSL routines::ssl/tls alert certificate unknown: SSL alert number 46 (after 13ms in state APIVERSION_QUERY)",
                "a:9093",
                Cause::Certificate,
            ),
            (
                "ssl://a:9093/bootstrap: SSL handshake failed: ssl/record/rec_layer_s3.c:918:error:0A000410:SSL routines::ssl/tls alert handshake failure: SSL alert number 40 (after 5ms in state SSL_HANDSHAKE)",
                "a:9093",
                Cause::Tls,
            ),
            (
                "sasl_plaintext://a:9094/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 301ms in state AUTH_REQ)",
                "a:9094",
                Cause::Login,
            ),
            (
                "a:9093/bootstrap: Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol configuration (connecting to a SSL listener?) or broker version is < 0.10 (see api.version.request) (after 7ms in state APIVERSION_QUERY)",
                "a:9093",
                Cause::Protocol,
            ),
            (
                "a:9094/1: Disconnected: verify that security.protocol is correctly configured, broker might require SASL authentication (after 9ms in state UP)",
                "a:9094",
                Cause::Protocol,
            ),
        ] {
            assert_eq!(read(text), Some((broker, cause)), "{text}");
        }
        for text in [
            "a:9093/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 218ms in state APIVERSION_QUERY, 1 identical error(s) suppressed)",
            "a:9093/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 3ms in state UP)",
        ] {
            assert_eq!(read(text), Some(("a:9093", Cause::Protocol)), "{text}");
        }
        // Everyday business.
        for text in [
            "a:9092/1: Disconnected (after 60000ms in state UP)",
            "a:9092/1: Receive failed: Connection reset by peer (after 3ms in state UP)",
            "a:9092/1: 1 request(s) timed out: disconnect (after 6000ms in state UP)",
            "2/2 brokers are down",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let long = "a:1/1: Connect to ipv4#1.2.3.4:1 failed: Connection refused (after 0ms in state CONNECT)";
        assert_eq!(
            Report::read(long).map(|report| report.reason),
            Some("Connect to ipv4#1.2.3.4:1 failed: Connection refused")
        );
    }

    #[test]
    fn a_cause_is_logged_once_and_again_after_it_was_over() {
        let (troubles, began) = (Troubles::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        assert!(troubles.is_news("a:1", Cause::Unconnected, at(0)));
        for second in 1..300 {
            assert!(!troubles.is_news("a:1", Cause::Unconnected, at(second)));
        }
        assert!(troubles.is_news("b:1", Cause::Unconnected, at(300)), "another broker");
        assert!(troubles.is_news("a:1", Cause::Login, at(300)), "another cause");
        assert!(!troubles.is_news("a:1", Cause::Unconnected, at(330)));
        troubles.end("a:1", at(331));
        assert!(!troubles.is_news("a:1", Cause::Unconnected, at(332)), "a late report");
        assert!(troubles.is_news("a:1", Cause::Unconnected, at(333)), "it had answered");
        assert!(!troubles.is_news("a:1", Cause::Unconnected, at(334)));
        assert!(
            troubles.is_news("a:1", Cause::Unconnected, at(400)),
            "nobody had reported it"
        );
    }

    #[test]
    fn what_a_stopping_broker_causes_too_is_logged_when_it_repeats() {
        let (troubles, began) = (Troubles::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        // Several clients, at the same moment.
        assert!(!troubles.is_news("a:1", Cause::Protocol, at(0)));
        assert!(!troubles.is_news("a:1", Cause::Protocol, at(20)));
        assert!(troubles.is_news("a:1", Cause::Protocol, at(1_100)));
        assert!(!troubles.is_news("a:1", Cause::Protocol, at(2_200)));
        // One that is gone closed its connections, whenever the clients say so.
        assert!(!troubles.is_news("b:1", Cause::Protocol, at(0)));
        assert!(troubles.is_news("b:1", Cause::Unconnected, at(10)));
        assert!(!troubles.is_news("b:1", Cause::Protocol, at(1_200)));
        assert!(!troubles.is_news("b:1", Cause::Protocol, at(2_300)));
        troubles.end("b:1", at(5_000));
        assert!(!troubles.is_news("b:1", Cause::Protocol, at(8_000)));
        assert!(
            troubles.is_news("b:1", Cause::Protocol, at(9_500)),
            "it is back, and does it again"
        );
    }
}
