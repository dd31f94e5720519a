//! Every setting's name, written once: this table drives the environment, the search for unknown keys, masking and the check
//! that `config/reference.yaml` documents everything.

/// One setting: what it is called in files, and in the plain environment.
#[derive(Debug)]
pub struct Key {
    /// The path in a file; in `topic` and `route`, relative to one item of `topics` or `routes`.
    pub name: &'static str,
    pub kind: Kind,
    /// Its plain environment name, if it has one. `KHP__…` reaches every key.
    pub env: Option<&'static str>,
    /// What becomes of a change of it while the process runs. What holds of a list holds of its items' keys, unless theirs say otherwise.
    pub reload: Reload,
}

/// What a reload does with a setting that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It is applied to the process that runs.
    Applied,
    /// It stays as it was, and the rest is applied.
    Restart,
    /// Nothing is applied.
    Refused,
}

/// What must be known of a setting before its value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A scalar, or a list of scalars.
    Value,
    /// Never printed.
    Secret,
    /// Names of hosts: one that is wrong is not printed, since a password may be in it.
    Address,
    /// A mapping whose keys are not ours: librdkafka's, or names of header fields.
    Properties,
    /// The list of topics, whose items hold the keys of `topic`.
    Topics,
    /// The list of keys that seal records, whose items hold the keys of `sealing_key`.
    SealingKeys,
    /// The list of routes, whose items hold the keys of `route`.
    Routes,
}

macro_rules! keys {
    ($($constant:ident: $kind:ident $name:literal $(from $env:literal)? $(, $reload:ident)?;)*) => {
        $(pub const $constant: Key = Key {
            name: $name,
            kind: Kind::$kind,
            env: keys!(@env $($env)?),
            reload: keys!(@reload $($reload)?),
        };)*
        /// All of them, in the order of `config/reference.yaml`.
        pub const ALL: &[Key] = &[$($constant),*];
    };
    (@env) => { None };
    (@env $env:literal) => { Some($env) };
    (@reload) => { Reload::Restart };
    (@reload live) => { Reload::Applied };
    (@reload refused) => { Reload::Refused };
}

/// The keys of a file's top level.
pub mod top {
    use crate::settings::keys::{Key, Kind, Reload};
    keys! {
        BOOTSTRAP_SERVERS: Address "kafka.bootstrap_servers" from "KAFKA_BOOTSTRAP_SERVERS";
        PROPERTIES: Properties "kafka.properties";
        SEALING_KEYS: SealingKeys "sealing.keys", live;
        SEALING_REQUIRE: Value "sealing.require", live;
        MAX_RECORD_SIZE: Value "max_record_size";
        STREAMING: Value "streaming", live;
        STREAM_IDLE_TIMEOUT: Value "stream_idle_timeout", live;
        STREAM_MAX_DURATION: Value "stream_max_duration", live;
        MAX_STREAMS: Value "max_streams";
        BIND: Value "bind";
        PORT: Value "port" from "PROXY_PORT";
        TLS_CERT: Value "tls.cert";
        TLS_KEY: Value "tls.key";
        TLS_CLIENT_CA: Value "tls.client_ca";
        TLS_CLIENT_AUTH: Value "tls.client_auth";
        TLS_MIN_VERSION: Value "tls.min_version";
        AUTH_METHODS: Value "auth.methods", live;
        AUTH_API_KEYS: Value "auth.api_keys", live;
        AUTH_API_KEY_HEADER: Value "auth.api_key_header", live;
        AUTH_JWKS: Value "auth.jwks", live;
        AUTH_JWKS_REFRESH: Value "auth.jwks_refresh", live;
        AUTH_ISSUER: Value "auth.issuer", live;
        AUTH_AUDIENCE: Value "auth.audience", live;
        AUTH_REQUIRED_CLAIMS: Value "auth.required_claims", live;
        AUTH_ALGORITHMS: Value "auth.algorithms", live;
        AUTH_LEEWAY: Value "auth.leeway", live;
        AUTH_PRINCIPAL_CLAIM: Value "auth.principal_claim", live;
        AUTH_CLIENT_SUBJECTS: Value "auth.client_subjects", live;
        AUTH_PRINCIPAL_HEADER: Value "auth.principal_header", live;
        AUTH_PASS_CREDENTIALS: Value "auth.pass_credentials", live;
        DEFAULT_TIMEOUT: Value "default_timeout" from "DEFAULT_TIMEOUT", live;
        WARMUP_TOPICS: Value "warmup_topics" from "WARMUP_TOPICS", live;
        REQUEST_TOPIC: Value "request_topic", live;
        RESPONSE_TOPIC: Value "response_topic", live;
        CONTROL_TOPIC: Value "control_topic", live;
        BODIES_TOPIC: Value "bodies_topic", live;
        IDEMPOTENCY: Value "idempotency", live;
        IDEMPOTENCY_TTL: Value "idempotency_ttl", live;
        IDEMPOTENCY_STORE: Value "idempotency_store", live;
        ASYNC: Value "async";
        ASYNC_TIMEOUT: Value "async_timeout";
        RESULTS_TOPIC: Value "results_topic";
        RESULTS_RETENTION: Value "results_retention";
        CONSUMER_GROUP: Value "consumer_group", live;
        WIRE_FORMAT: Value "wire_format", live;
        ROUTES: Routes "routes", live;
        WITHHOLD_HEADERS: Value "withhold_headers", live;
        TRUSTED_PROXIES: Value "trusted_proxies", live;
        SERVER_TIMING: Value "server_timing", live;
        TOPIC_HEADERS: Value "topic_headers", live;
        ALLOWED_TOPICS: Value "allowed_topics", live;
        MAX_CLIENT_TOPICS: Value "max_client_topics", live;
        INSTANCE_ID: Value "instance_id" from "INSTANCE_ID";
        REPLY_PARTITION: Value "reply_partition";
        MAX_PENDING: Value "max_pending", live;
        MAX_PENDING_PER_TOPIC: Value "max_pending_per_topic", live;
        RATE_LIMIT: Value "rate_limit", live;
        RATE_LIMIT_BURST: Value "rate_limit_burst", live;
        RATE_LIMIT_PER: Value "rate_limit_per", live;
        MAX_BODY_SIZE: Value "max_body_size", live;
        MAX_PENDING_BYTES: Value "max_pending_bytes", live;
        MIN_BODY_RATE: Value "min_body_rate", live;
        MAX_CONNECTIONS: Value "max_connections";
        MAX_CONNECTIONS_PER_CLIENT: Value "max_connections_per_client";
        KEEP_ALIVE: Value "keep_alive";
        STREAM_WINDOW: Value "stream_window";
        RESULTS_PATH: Value "results_path";
        MAX_RESULTS: Value "max_results";
        RESULTS_KEY: Secret "results_key";
        MAX_CONCURRENT_REQUESTS: Value "max_concurrent_requests" from "MAX_CONCURRENT_REQUESTS";
        TOPICS: Topics "topics" from "KAFKA_TOPICS", live;
        HEALTH_CHECK_INTERVAL: Value "health_check_interval" from "HEALTH_CHECK_INTERVAL";
        DEAD_LETTER_TOPIC: Value "dead_letter_topic" from "DEAD_LETTER_TOPIC";
        CLOCK_TOLERANCE: Value "clock_tolerance";
        MAX_CLOCK_SKEW: Value "max_clock_skew";
        REVOKE_TIMEOUT: Value "revoke_timeout";
        BODY_READERS: Value "body_readers";
        CREATE_ENABLED: Value "create_topics.enabled";
        CREATE_PARTITIONS: Value "create_topics.partitions";
        CREATE_REPLICATION_FACTOR: Value "create_topics.replication_factor";
        CREATE_RETENTION: Value "create_topics.retention";
        CREATE_ALLOW: Value "create_topics.allow";
        DRAIN_TIMEOUT: Value "drain_timeout";
        PRE_STOP: Value "pre_stop";
        MANAGEMENT_BIND: Value "management_bind";
        MANAGEMENT_PORT: Value "management_port" from "MANAGEMENT_PORT";
        MANAGEMENT_TOKEN: Secret "management_token", live;
        ALLOWED_HOSTS: Value "allowed_hosts";
        MANAGEMENT_PEERS: Value "management_peers";
        WATCH_FILES: Value "watch_files";
        LOG_LEVEL: Value "log.level", live;
        LOG_FORMAT: Value "log.format";
        LOG_ACCESS: Value "log.access";
        LOG_QUERY: Value "log.query";
    }
}

/// The keys of one item of `topics`.
pub mod topic {
    use crate::settings::keys::{Key, Kind, Reload};
    keys! {
        NAME: Value "name";
        REQUEST_TOPIC: Value "request_topic";
        RESPONSE_TOPIC: Value "response_topic";
        CONTROL_TOPIC: Value "control_topic";
        BODIES_TOPIC: Value "bodies_topic";
        IDEMPOTENCY: Value "idempotency";
        DEDUPLICATE: Value "deduplicate";
        IDEMPOTENCY_TOPIC: Value "idempotency_topic";
        ANSWERS_TOPIC: Value "answers_topic";
        MAX_REMEMBERED_ANSWER: Value "max_remembered_answer";
        IDEMPOTENCY_RETENTION: Value "idempotency_retention";
        MAX_IDEMPOTENCY_KEYS: Value "max_idempotency_keys";
        BACKEND_URL: Address "backend_url";
        CONSUMER_GROUP: Value "consumer_group";
        TIMEOUT: Value "timeout";
        MAX_RETRIES: Value "max_retries";
        RATE_LIMIT: Value "rate_limit";
        WORKERS: Value "workers";
        CONCURRENCY: Value "concurrency";
        START: Value "start";
        GROUP_INSTANCE_ID: Value "group_instance_id";
        ALLOWED_REPLY_TOPICS: Value "allowed_reply_topics";
        HEALTH_PATH: Value "health_path";
        HOST: Value "host";
        SET_HEADERS: Properties "set_headers";
        WITHHOLD_HEADERS: Value "withhold_headers";
        STREAMING: Value "streaming";
        STREAM_IDLE_TIMEOUT: Value "stream_idle_timeout";
        STREAM_MAX_DURATION: Value "stream_max_duration";
        ORDERING: Value "ordering";
        DELIVERY: Value "delivery";
        RETRY_ON: Value "retry.on";
        RETRY_METHODS: Value "retry.methods";
        RETRY_WAIT: Value "retry.wait";
        RETRY_MAX_WAIT: Value "retry.max_wait";
        RETRY_BUDGET: Value "retry.budget";
        BREAKER_MODE: Value "breaker.mode";
        BREAKER_FAILURES: Value "breaker.failures";
        BREAKER_FAILURE_RATE: Value "breaker.failure_rate";
        BREAKER_OPEN_FOR: Value "breaker.open_for";
        TLS_CA: Value "tls.ca";
        TLS_CERT: Value "tls.cert";
        TLS_KEY: Value "tls.key";
        TLS_SERVER_NAME: Value "tls.server_name";
        TLS_VERIFY: Value "tls.verify";
    }
}

/// The keys of one item of `routes`.
pub mod route {
    use crate::settings::keys::{Key, Kind, Reload};
    keys! {
        PATH: Value "path";
        METHODS: Value "methods";
        REQUEST_TOPIC: Value "request_topic";
        RESPONSE_TOPIC: Value "response_topic";
        CONTROL_TOPIC: Value "control_topic";
        BODIES_TOPIC: Value "bodies_topic";
        CONSUMER_GROUP: Value "consumer_group";
        TIMEOUT: Value "timeout";
        STREAMING: Value "streaming";
        STREAM_IDLE_TIMEOUT: Value "stream_idle_timeout";
        STREAM_MAX_DURATION: Value "stream_max_duration";
        IDEMPOTENCY: Value "idempotency";
        IDEMPOTENCY_TTL: Value "idempotency_ttl";
        IDEMPOTENCY_STORE: Value "idempotency_store";
        ASYNC: Value "async", refused;
        ASYNC_TIMEOUT: Value "async_timeout", refused;
        RESULTS_TOPIC: Value "results_topic", refused;
        RESULTS_RETENTION: Value "results_retention", refused;
        WIRE_FORMAT: Value "wire_format";
        KEY: Value "key";
        STRIP_PREFIX: Value "strip_prefix";
        AUTH: Value "auth";
        REQUIRED_CLAIMS: Value "required_claims";
        WITHHOLD_HEADERS: Value "withhold_headers";
    }
}

/// The keys of one item of `sealing.keys`.
pub mod sealing_key {
    use crate::settings::keys::{Key, Kind, Reload};
    keys! {
        ID: Value "id";
        SECRET: Secret "secret";
    }
}

/// The path of a list's item.
pub fn item(list: &str, index: usize) -> String {
    format!("{list}[{index}]")
}

/// The path of a key of one item of `topics`.
pub fn of_topic(index: usize, key: &Key) -> String {
    join(&item(top::TOPICS.name, index), key.name)
}

/// The path of a key of one item of `routes`.
pub fn of_route(index: usize, key: &Key) -> String {
    join(&item(top::ROUTES.name, index), key.name)
}

/// The path of a key inside `parent` (empty: the top level).
pub fn join(parent: &str, name: &str) -> String {
    match (parent, name) {
        ("", path) | (path, "") => path.to_owned(),
        _ => format!("{parent}.{name}"),
    }
}
