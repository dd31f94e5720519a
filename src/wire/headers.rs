//! The one place of header names, and the rules of which fields pass between HTTP and a record.

/// The format's version, the first header of each record of ours.
pub const KHP_VERSION: &str = "khp-version";
/// Unix time in ms after which nobody waits, as decimal text.
pub const KHP_DEADLINE: &str = "khp-deadline";
/// The same as a span in ms.
pub const KHP_TIMEOUT: &str = "khp-timeout";
/// `none` when the request had no body at all; `elsewhere` when it lies in the topic of bodies.
pub const KHP_BODY: &str = "khp-body";
/// The address the request came from.
pub const KHP_CLIENT_IP: &str = "khp-client-ip";
/// The name that the client has proven to the proxy.
pub const KHP_PRINCIPAL: &str = "khp-principal";
/// The code of a [`ReplyError`](crate::wire::ReplyError): the processor answered itself, or gave the record up.
pub const KHP_ERROR: &str = "khp-error";
/// Replies: the span that wrote it, in the form of `traceparent`. Of a name of our own, since `traceparent` there is a field of the backend.
pub const KHP_TRACEPARENT: &str = "khp-traceparent";
/// How often a dead letter's request was tried.
pub const KHP_ATTEMPTS: &str = "khp-attempts";
/// A dead letter that was cut to fit: the length of its value before that.
pub const KHP_TRUNCATED: &str = "khp-truncated";
/// How often a dead letter was redriven.
pub const KHP_REDRIVE: &str = "khp-redrive";
/// On a mark, a record among dead letters that is not one: the offsets of the letters in its partition that were redriven, decimal,
/// separated by commas.
pub const KHP_REDRIVEN: &str = "khp-redriven";

/// `stream`: the requester takes an answer in several records.
pub const KHP_ACCEPT: &str = "khp-accept";
/// How many bytes of the body may be sent before credit comes, decimal.
pub const KHP_WINDOW: &str = "khp-window";
/// 16 bytes that are new at each start of a process.
pub const KHP_INSTANCE: &str = "khp-instance";
/// 8 bytes that are new for each call of a backend: which answer a piece belongs to.
pub const KHP_STREAM: &str = "khp-stream";
/// The number of a piece, decimal, from 0 without a gap.
pub const KHP_SEQ: &str = "khp-seq";
/// `1` on every piece but the last.
pub const KHP_MORE: &str = "khp-more";
/// What a record of the control topic says: `cancel`, `credit` or `alive`.
pub const KHP_CONTROL: &str = "khp-control";
/// How many bytes of a body may have been sent so far, decimal.
pub const KHP_CREDIT: &str = "khp-credit";
/// The partition of a body that lies beside its request: 4 bytes, big-endian.
pub const KHP_BODY_PARTITION: &str = "khp-body-partition";
/// The offset of its first piece: 8 bytes, big-endian.
pub const KHP_BODY_FIRST: &str = "khp-body-first";
/// The offset of its last piece: 8 bytes, big-endian.
pub const KHP_BODY_LAST: &str = "khp-body-last";
/// Its bytes, decimal.
pub const KHP_BODY_LENGTH: &str = "khp-body-length";

/// Which request it is, where it runs once for its key: 32 hexadecimal digits.
pub const KHP_IDEMPOTENCY_FINGERPRINT: &str = "khp-idempotency-fingerprint";
/// How long its answer is remembered, in ms, decimal.
pub const KHP_IDEMPOTENCY_TTL: &str = "khp-idempotency-ttl";
/// Which answers are remembered: `success` or `all`.
pub const KHP_IDEMPOTENCY_STORE: &str = "khp-idempotency-store";
/// On a memory record: `answered`, `too-large`, `begun` or `free`.
pub const KHP_IDEMPOTENCY_STATE: &str = "khp-idempotency-state";
/// On a memory record: Unix time in ms after which it counts no more, decimal.
pub const KHP_IDEMPOTENCY_EXPIRES: &str = "khp-idempotency-expires";
/// On a memory record: how many partitions the request topic had, decimal.
pub const KHP_IDEMPOTENCY_PARTITIONS: &str = "khp-idempotency-partitions";

/// The id of the key that a record is sealed with; its presence makes a record a sealed one.
pub const KHP_SEAL_KEY: &str = "khp-seal-key";
/// The random bytes of a seal.
pub const KHP_SEAL_NONCE: &str = "khp-seal-nonce";

/// Spring Kafka's names (`KafkaHeaders`), so that its listeners answer as they are.
pub const KAFKA_CORRELATION_ID: &str = "kafka_correlationId";
/// Where the answer is awaited, UTF-8.
pub const KAFKA_REPLY_TOPIC: &str = "kafka_replyTopic";
/// Four bytes, big-endian.
pub const KAFKA_REPLY_PARTITION: &str = "kafka_replyPartition";

/// What begins every header that Spring Kafka's `DeadLetterPublishingRecoverer` writes.
pub const DLT_PREFIX: &str = "kafka_dlt-";
/// Text.
pub const DLT_ORIGINAL_TOPIC: &str = "kafka_dlt-original-topic";
/// i32, big-endian.
pub const DLT_ORIGINAL_PARTITION: &str = "kafka_dlt-original-partition";
/// i64, big-endian.
pub const DLT_ORIGINAL_OFFSET: &str = "kafka_dlt-original-offset";
/// i64, big-endian.
pub const DLT_ORIGINAL_TIMESTAMP: &str = "kafka_dlt-original-timestamp";
/// Text.
pub const DLT_ORIGINAL_CONSUMER_GROUP: &str = "kafka_dlt-original-consumer-group";
/// Text.
pub const DLT_EXCEPTION_MESSAGE: &str = "kafka_dlt-exception-message";

/// The request line, named as HTTP/2 names its parts (RFC 9113 8.3.1).
pub const METHOD: &str = ":method";
/// Path and query.
pub const PATH: &str = ":path";
/// What the client called the proxy.
pub const AUTHORITY: &str = ":authority";
/// `http` or `https`.
pub const SCHEME: &str = ":scheme";
/// Of the answer (RFC 9113 8.3.2).
pub const STATUS: &str = ":status";

/// The record header of the `json` format.
pub const CORRELATION_ID: &str = "correlation_id";

/// HTTP: names the request topic.
pub const X_KAFKA_TOPIC: &str = "x-kafka-topic";
/// HTTP: names the reply topic.
pub const X_KAFKA_REPLY_TOPIC: &str = "x-kafka-reply-topic";
/// HTTP, to backends and clients: ours alone, the one to deduplicate on.
pub const KHP_CORRELATION_ID: &str = "khp-correlation-id";
/// HTTP: the client promises that a request may be executed twice, or asks that it is not.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// HTTP: `true` on an answer that was remembered.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";
/// HTTP: when to try again (RFC 9110 10.2.3).
pub const RETRY_AFTER: &str = "retry-after";
/// HTTP: the client's, or else the correlation id.
pub const X_REQUEST_ID: &str = "x-request-id";
/// What a client would rather have (RFC 7240).
pub const PREFER: &str = "prefer";
/// Which of it was applied.
pub const PREFERENCE_APPLIED: &str = "preference-applied";
/// HTTP and records: which trace it belongs to (W3C Trace Context, 3.2).
pub const TRACEPARENT: &str = "traceparent";
/// HTTP and records: what tracing systems add to that (3.3).
pub const TRACESTATE: &str = "tracestate";
/// HTTP: the method as the proxy received it.
pub const X_ORIGINAL_METHOD: &str = "x-original-method";
/// HTTP: a gateway must add itself (RFC 9110 7.6.3).
pub const VIA: &str = "via";
/// HTTP: the addresses a request passed.
pub const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// HTTP: the scheme the client used.
pub const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
/// HTTP: the host the client named.
pub const X_FORWARDED_HOST: &str = "x-forwarded-host";
/// HTTP: the client's address, as nginx users name it.
pub const X_REAL_IP: &str = "x-real-ip";
/// HTTP: the same as all of `X-Forwarded-*` in one field (RFC 7239).
pub const FORWARDED: &str = "forwarded";
/// What begins every field that a gateway adds about its client.
const X_FORWARDED_PREFIX: &str = "x-forwarded-";

/// HTTP: the certificate that the client has shown, as Envoy writes it.
pub const X_FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

/// HTTP: fields of this connection only (RFC 9110 7.6.1).
pub const CONNECTION: &str = "connection";
/// HTTP: how many bytes a body has.
pub const CONTENT_LENGTH: &str = "content-length";
/// HTTP: what the body is.
pub const CONTENT_TYPE: &str = "content-type";

const RESERVED_PREFIXES: [&str; 6] = ["khp-", "kafka_", "spring_", "__", "x-kafka-", ":"];

/// The fields that RFC 9110 7.6.1 removes "whether or not they appear as a connection option", and those that belong to one hop by
/// their definition (6.6.2, 11.7).
const HOP_BY_HOP: [&str; 7] = [
    CONNECTION,
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "trailer",
];

/// True if a backend may take a name for one that is reserved for records: such a field is never taken from or given to HTTP, or a
/// client could forge a deadline and a replier a correlation id.
pub fn is_reserved(name: &str) -> bool {
    let name = name.as_bytes();
    RESERVED_PREFIXES.iter().any(|prefix| begins_for(name, prefix)) || passes_for(name, CORRELATION_ID)
}

/// True if a backend may take a field for `known`, which is in lower case: in whatever case, and with `_` for `-`, since what runs as CGI
/// or WSGI does not see the difference.
pub fn passes_for(name: &[u8], known: &str) -> bool {
    let same = |(a, b): (&u8, u8)| a.to_ascii_lowercase() == b || *a == b'_' && b == b'-';
    name.len() == known.len() && name.iter().zip(known.bytes()).all(same)
}

/// The same of the beginning of a name.
fn begins_for(name: &[u8], prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| passes_for(start, prefix))
}

/// True if a backend may take a field for one that each hop writes itself: the host travels as `:authority`, each hop frames its own body,
/// and what is expected was answered.
pub fn is_of_each_hop(name: &str) -> bool {
    ["host", CONTENT_LENGTH, "expect"]
        .iter()
        .any(|own| passes_for(name.as_bytes(), own))
}

/// True if a field says who the client is or how it came. Only a gateway that is trusted may say that.
pub fn is_about_client(name: &str) -> bool {
    begins_for(name.as_bytes(), X_FORWARDED_PREFIX)
        || passes_for(name.as_bytes(), FORWARDED)
        || passes_for(name.as_bytes(), X_REAL_IP)
}

/// True if a backend may take a name for one that belongs to one connection only (RFC 9110 7.6.1). Fields that `Connection` lists do too:
/// [`connection_options`].
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|own| passes_for(name.as_bytes(), own))
}

/// What no `Connection` may remove, beside what is about the client: who asks is decided by it, or requests are tied together by it.
const KEPT: [&str; 4] = ["authorization", "cookie", X_REQUEST_ID, TRACEPARENT];

/// True if `Connection` may list a field, in whatever case, to be dropped on this hop. A client that could drop what a gateway has added
/// would pass for somebody else.
pub fn may_be_dropped(name: &str) -> bool {
    !is_about_client(name) && !KEPT.iter().any(|kept| kept.eq_ignore_ascii_case(name))
}

/// Collects what all values of `Connection` list: fields to be dropped with it (RFC 9110 7.6.1).
pub fn connection_options<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    let options = values.into_iter().flat_map(|value| value.split(|&byte| byte == b','));
    options
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
        .collect()
}

/// Leaves the fields that pass from end to end, for requests and responses alike: not hop-by-hop, not named by
/// `connection` (what [`connection_options`] found), not reserved.
pub fn end_to_end<N: AsRef<str>, V>(
    fields: impl IntoIterator<Item = (N, V)>,
    connection: &[&[u8]],
) -> impl Iterator<Item = (N, V)> {
    fields.into_iter().filter(move |(name, _)| {
        let name = name.as_ref();
        let listed = || {
            connection
                .iter()
                .any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
                && may_be_dropped(name)
        };
        !is_reserved(name) && !is_hop_by_hop(name) && !listed()
    })
}

/// True if HTTP can carry a value: CR, LF and NUL would let it forge what follows, and no HTTP library takes the
/// other control characters, tab excepted (RFC 9110 5.5). Bytes from 0x80 pass.
pub fn value_is_legal(value: &[u8]) -> bool {
    // Without an early exit the compiler checks many bytes at once.
    !value.iter().fold(false, |bad, &byte| {
        bad | ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)
    })
}

/// True if a name is a token (RFC 9110 5.6.2), as field names and methods must be.
pub fn name_is_legal(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests;
