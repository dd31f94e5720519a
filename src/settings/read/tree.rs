//! From the merged tree to [`Settings`]. The order here is the order in which `actix-khp check` prints them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::kafka::config::{CreateTopics, Kafka};
use crate::process::telemetry::Log;
use crate::process::tls::{ClientAuth, ServerTls};
use crate::settings::check::rules;
use crate::settings::effective::{Effective, Yaml};
use crate::settings::fault::Report;
use crate::settings::keys::{route, sealing_key, top, topic};
use crate::settings::model::{
    AuthMethod, BackendTls, Breaker, ClientRate, Idempotency, Later, Management, Mode, Processor, Proxy, Retry, Route,
    Sealing, SealingKey, Secret, Settings, Streams, Topic,
};
use crate::settings::parse::{name, network, routing, value};
use crate::settings::read::reader::Reader;
use crate::settings::read::{auth, defaults, idempotency, later, streams};
use crate::settings::sources::env::Env;
use crate::settings::sources::layer::Table;
use crate::wire::Format;

/// Every address of this machine; it also stands for an address that is at fault.
const EVERY_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// Bytes of a record that is read, unless larger ones are sent: sixteen times what Kafka takes by default.
const MAX_RECORD_SIZE: u64 = 16 << 20;

/// Reads every setting, and notes the effective ones. What is wrong goes to `report`.
pub fn read(mode: Mode, tree: &Table, env: &Env, report: &mut Report) -> (Settings, Effective) {
    let mut effective = Yaml::default();
    let mut reader = Reader::new(tree, env, report, &mut effective);
    let kafka = kafka(&mut reader);
    let sealing = sealing(&mut reader);
    let sent = rules::message_max_bytes(&kafka).max(MAX_RECORD_SIZE).to_string();
    let max_record_size = reader.or(&top::MAX_RECORD_SIZE, sent, value::size);
    let streams = streams::defaults(&mut reader);
    let max_streams = reader.required(&top::MAX_STREAMS, value::positive);
    let proxy = proxy(&mut reader, &streams);
    let processor = processor(&mut reader, &streams);
    let create_topics = create_topics(&mut reader);
    let longest_wait = defaults::seconds(proxy.longest_timeout().saturating_add(Duration::from_secs(10)));
    let settings = Settings {
        mode,
        kafka,
        sealing,
        max_record_size,
        max_streams,
        create_topics,
        drain_timeout: reader.or(&top::DRAIN_TIMEOUT, longest_wait, value::positive_duration),
        pre_stop: reader.required(&top::PRE_STOP, value::duration),
        proxy,
        processor,
        management: management(&mut reader),
        watch_files: reader.required(&top::WATCH_FILES, value::flag),
        log: log(&mut reader),
    };
    (settings, effective.finish())
}

fn kafka(reader: &mut Reader<'_>) -> Kafka {
    Kafka {
        bootstrap_servers: reader.required(&top::BOOTSTRAP_SERVERS, name::brokers),
        properties: reader.properties(&top::PROPERTIES),
    }
}

fn sealing(reader: &mut Reader<'_>) -> Sealing {
    let require = reader.required(&top::SEALING_REQUIRE, value::flag);
    let keys = reader.items(&top::SEALING_KEYS, |item| SealingKey {
        id: item.required(&sealing_key::ID, name::member),
        secret: Secret::new(item.required(&sealing_key::SECRET, name::sealing_secret)),
    });
    Sealing { keys, require }
}

fn proxy(reader: &mut Reader<'_>, streams: &Streams) -> Proxy {
    let bind = reader.present(&top::BIND, value::ip).unwrap_or(EVERY_ADDRESS);
    let port = reader.required(&top::PORT, value::port);
    let tls = tls(reader);
    let auth = auth::auth(reader);
    let default_timeout = reader.required(&top::DEFAULT_TIMEOUT, value::positive_duration);
    let warmup_topics = reader.list(&top::WARMUP_TOPICS, "", name::topic);
    let request_topic = reader.required(&top::REQUEST_TOPIC, name::topic);
    let response_topic = reader.required(&top::RESPONSE_TOPIC, name::topic);
    let streams = streams::of_proxy(reader, &request_topic, streams);
    let idempotency = idempotency::of_proxy(reader);
    let later = later::of_proxy(reader, &response_topic);
    let consumer_group = reader.optional(&top::CONSUMER_GROUP, value::text);
    let wire_format = reader.required(&top::WIRE_FORMAT, value::wire_format);
    let withhold_headers = reader.list(&top::WITHHOLD_HEADERS, "", name::header_glob);
    let withheld = withhold_headers.join(",");
    let routes = reader.items(&top::ROUTES, |item| {
        let defaults = (&*request_topic, &*response_topic, consumer_group.as_deref());
        route(
            item,
            defaults,
            (&streams, &idempotency, &later),
            default_timeout,
            wire_format,
            (&auth.methods, &withheld),
        )
    });
    let trusted_proxies = reader.list(&top::TRUSTED_PROXIES, "", network::networks);
    let server_timing = reader.list(&top::SERVER_TIMING, "", network::networks);
    let unrouted = routes.is_empty().to_string();
    let topic_headers = reader.or(&top::TOPIC_HEADERS, unrouted, value::flag);
    let allowed_topics = reader.list(&top::ALLOWED_TOPICS, "", name::glob);
    let max_client_topics = reader.required(&top::MAX_CLIENT_TOPICS, value::whole);
    let instance_id = reader.optional(&top::INSTANCE_ID, value::text);
    let reply_partition = reader.required(&top::REPLY_PARTITION, value::reply_partition);
    let max_pending = reader.required(&top::MAX_PENDING, value::positive);
    let half = max_pending.div_ceil(2).max(1).to_string();
    Proxy {
        bind,
        port,
        tls,
        auth,
        default_timeout,
        warmup_topics,
        request_topic,
        response_topic,
        streams,
        idempotency,
        later,
        consumer_group,
        wire_format,
        routes,
        withhold_headers,
        trusted_proxies: trusted_proxies.concat(),
        server_timing: server_timing.concat(),
        topic_headers,
        allowed_topics,
        max_client_topics,
        instance_id,
        reply_partition,
        max_pending,
        max_pending_per_topic: reader.or(&top::MAX_PENDING_PER_TOPIC, half, value::positive),
        rate_limit: rate_limit(reader),
        max_body_size: reader.required(&top::MAX_BODY_SIZE, value::size_or_zero),
        max_pending_bytes: reader.or(
            &top::MAX_PENDING_BYTES,
            defaults::max_pending_bytes().to_string(),
            value::size,
        ),
        min_body_rate: reader.required(&top::MIN_BODY_RATE, value::whole),
        max_connections: reader.or(
            &top::MAX_CONNECTIONS,
            defaults::max_connections().to_string(),
            value::positive,
        ),
        max_connections_per_client: reader.optional(&top::MAX_CONNECTIONS_PER_CLIENT, value::positive),
        keep_alive: reader.required(&top::KEEP_ALIVE, value::positive_duration),
        stream_window: reader.required(&top::STREAM_WINDOW, value::size),
        results: later::results(reader),
    }
}

/// `None` without a certificate. A rule sees to it that no part stands alone.
fn tls(reader: &mut Reader<'_>) -> Option<ServerTls> {
    let cert = reader.optional(&top::TLS_CERT, value::file);
    let key = reader.optional(&top::TLS_KEY, value::file);
    let client_ca = reader.optional(&top::TLS_CLIENT_CA, value::file);
    let asked = if client_ca.is_some() {
        ClientAuth::Required
    } else {
        ClientAuth::Off
    };
    let client_auth = reader.or(&top::TLS_CLIENT_AUTH, asked.as_str(), value::client_auth);
    let min_version = reader.required(&top::TLS_MIN_VERSION, value::tls_version);
    let given = cert.is_some() || key.is_some() || client_ca.is_some() || client_auth != ClientAuth::Off;
    given.then(|| ServerTls {
        cert: cert.unwrap_or_default(),
        key: key.unwrap_or_default(),
        client_ca,
        client_auth,
        min_version,
    })
}

fn rate_limit(reader: &mut Reader<'_>) -> Option<ClientRate> {
    let per_second = reader.optional(&top::RATE_LIMIT, value::rate);
    // A second's worth.
    let burst = per_second.map(|rate| rate.ceil().min(f64::from(u32::MAX)).to_string());
    let burst = reader.or(&top::RATE_LIMIT_BURST, burst.unwrap_or_default(), value::burst);
    let key = reader.required(&top::RATE_LIMIT_PER, value::client_key);
    per_second.map(|per_second| ClientRate { per_second, burst, key })
}

/// What a route does not say, the proxy's own settings do.
fn route(
    item: &mut Reader<'_>,
    (default_topic, response_topic, default_group): (&str, &str, Option<&str>),
    (default_streams, default_idempotency, default_later): (&Streams, &Idempotency, &Later),
    timeout: Duration,
    wire_format: Format,
    (methods_of_auth, withheld): (&[AuthMethod], &str),
) -> Route {
    let path = item.required(&route::PATH, routing::pattern);
    let methods = item.list(&route::METHODS, "", routing::method);
    let request_topic: String = item.or(&route::REQUEST_TOPIC, default_topic, name::topic);
    // A group belongs to its topic.
    let default_group = default_group.filter(|_| request_topic == default_topic);
    let own_response_topic = response_topic;
    let response_topic: String = item.or(&route::RESPONSE_TOPIC, own_response_topic, name::topic);
    // As a group, they belong to their topic.
    let own = (request_topic == default_topic).then_some(default_streams);
    let streams = streams::of_route(item, &request_topic, own, default_streams);
    let consumer_group = item
        .optional(&route::CONSUMER_GROUP, value::text)
        .or_else(|| default_group.map(str::to_owned));
    let timeout = item.or(&route::TIMEOUT, defaults::inherited(timeout), value::positive_duration);
    let idempotency = idempotency::of_route(item, default_idempotency);
    let later = later::of_route(item, &response_topic, own_response_topic, default_later);
    let wire_format = item.or(&route::WIRE_FORMAT, wire_format.as_str(), value::wire_format);
    let key = item.optional(&route::KEY, routing::record_key);
    let strip_prefix = item.optional(&route::STRIP_PREFIX, routing::prefix);
    let (auth, required_claims) = auth::of_route(item, methods_of_auth);
    let withhold_headers = item.list(&route::WITHHOLD_HEADERS, withheld, name::header_glob);
    Route {
        path,
        methods,
        request_topic,
        response_topic,
        streams,
        idempotency,
        later,
        consumer_group,
        timeout,
        wire_format,
        key,
        strip_prefix,
        auth,
        required_claims,
        withhold_headers,
    }
}

fn processor(reader: &mut Reader<'_>, streams: &Streams) -> Processor {
    // Read first: it is the default of each topic's concurrency.
    let max_concurrent_requests = reader.required(&top::MAX_CONCURRENT_REQUESTS, value::positive);
    Processor {
        topics: reader.items(&top::TOPICS, |item| topic(item, streams, max_concurrent_requests)),
        max_concurrent_requests,
        health_check_interval: reader.required(&top::HEALTH_CHECK_INTERVAL, value::duration),
        dead_letter_topic: reader.optional(&top::DEAD_LETTER_TOPIC, name::topic),
        clock_tolerance: reader.required(&top::CLOCK_TOLERANCE, value::duration),
        max_clock_skew: reader.required(&top::MAX_CLOCK_SKEW, value::positive_duration),
        revoke_timeout: reader.required(&top::REVOKE_TIMEOUT, value::positive_duration),
        body_readers: reader.required(&top::BODY_READERS, value::positive),
    }
}

/// The defaults of a topic cannot be in the embedded reference, whose list of topics is empty; there they are comments, and a test
/// reads those.
fn topic(item: &mut Reader<'_>, streams: &Streams, max_concurrent_requests: usize) -> Topic {
    let request_topic: String = item.required(&topic::REQUEST_TOPIC, name::topic);
    Topic {
        name: item.or(&topic::NAME, request_topic.as_str(), value::text),
        response_topic: item.or(
            &topic::RESPONSE_TOPIC,
            format!("{request_topic}-responses"),
            name::topic,
        ),
        streams: streams::of_topic(item, &request_topic, streams),
        memory: idempotency::of_topic(item, &request_topic),
        backend_url: item.required(&topic::BACKEND_URL, name::backend_url),
        consumer_group: item.or(
            &topic::CONSUMER_GROUP,
            format!("processor-{request_topic}"),
            value::text,
        ),
        timeout: item.or(&topic::TIMEOUT, "30", value::positive_duration),
        max_retries: item.or(&topic::MAX_RETRIES, "3", value::whole),
        rate_limit: item.optional(&topic::RATE_LIMIT, value::rate),
        workers: item.or(&topic::WORKERS, "1", value::positive),
        concurrency: item.or(
            &topic::CONCURRENCY,
            max_concurrent_requests.to_string(),
            value::positive,
        ),
        start: item.or(&topic::START, "earliest", value::start),
        group_instance_id: item.optional(&topic::GROUP_INSTANCE_ID, name::member),
        allowed_reply_topics: item.list(&topic::ALLOWED_REPLY_TOPICS, "*-responses", name::glob),
        health_path: item.or(&topic::HEALTH_PATH, "/health", name::path),
        host: item.or(&topic::HOST, "backend", value::host),
        set_headers: item.headers(&topic::SET_HEADERS),
        withhold_headers: item.list(&topic::WITHHOLD_HEADERS, "", name::header_glob),
        ordering: item.or(&topic::ORDERING, "unordered", value::ordering),
        delivery: item.or(&topic::DELIVERY, "at-least-once", value::delivery),
        retry: Retry {
            on: item.list(&topic::RETRY_ON, "timeout, reset, 429, 502, 503, 504", value::retry_on),
            methods: item.list(
                &topic::RETRY_METHODS,
                "GET, HEAD, OPTIONS, TRACE, PUT, DELETE",
                routing::method,
            ),
            wait: item.or(&topic::RETRY_WAIT, "50ms", value::positive_duration),
            max_wait: item.or(&topic::RETRY_MAX_WAIT, "2s", value::positive_duration),
            budget: item.or(&topic::RETRY_BUDGET, "0.2", value::share),
        },
        breaker: Breaker {
            mode: item.or(&topic::BREAKER_MODE, "reject", value::breaker_mode),
            failures: item.or(&topic::BREAKER_FAILURES, "10", value::positive_u32),
            failure_rate: item.or(&topic::BREAKER_FAILURE_RATE, "0.5", value::share),
            open_for: item.or(&topic::BREAKER_OPEN_FOR, "5", value::positive_duration),
        },
        tls: BackendTls {
            ca: item.optional(&topic::TLS_CA, value::text),
            cert: item.optional(&topic::TLS_CERT, value::text),
            key: item.optional(&topic::TLS_KEY, value::text),
            server_name: item.optional(&topic::TLS_SERVER_NAME, name::server),
            verify: item.or(&topic::TLS_VERIFY, "full", value::tls_verify),
        },
        request_topic,
    }
}

/// A topic with nothing but defaults, and so many calls at once.
pub fn plain_topic(request_topic: &str, response_topic: &str, backend_url: &str, concurrency: usize) -> Topic {
    let named = [
        (topic::REQUEST_TOPIC, request_topic),
        (topic::RESPONSE_TOPIC, response_topic),
        (topic::BACKEND_URL, backend_url),
    ];
    let table: Table = named
        .into_iter()
        .map(|(key, text)| (key.name.to_owned(), text.into()))
        .collect();
    let (env, mut report, mut effective) = (Env::new(), Report::default(), Yaml::default());
    let mut reader = Reader::new(&table, &env, &mut report, &mut effective);
    topic(&mut reader, &Streams::default(), concurrency)
}

fn create_topics(reader: &mut Reader<'_>) -> CreateTopics {
    CreateTopics {
        enabled: reader.required(&top::CREATE_ENABLED, value::flag),
        partitions: reader.required(&top::CREATE_PARTITIONS, value::broker_count),
        replication_factor: reader.required(&top::CREATE_REPLICATION_FACTOR, value::broker_count),
        retention: reader.optional(&top::CREATE_RETENTION, value::positive_duration),
        allow: reader.list(&top::CREATE_ALLOW, "", name::glob),
    }
}

fn management(reader: &mut Reader<'_>) -> Management {
    let token = reader.optional(&top::MANAGEMENT_TOKEN, value::token).map(Secret::new);
    // Without a token, only who is on this machine may ask.
    let bind = match &token {
        Some(_) => EVERY_ADDRESS,
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    Management {
        bind: reader
            .or_else(&top::MANAGEMENT_BIND, bind.to_string(), value::ip)
            .unwrap_or(EVERY_ADDRESS),
        port: reader.required(&top::MANAGEMENT_PORT, value::port),
        token,
        allowed_hosts: reader.list(&top::ALLOWED_HOSTS, "", name::host_glob),
        peers: reader.list(&top::MANAGEMENT_PEERS, "", network::host_port),
    }
}

fn log(reader: &mut Reader<'_>) -> Log {
    Log {
        level: reader.required(&top::LOG_LEVEL, value::log_filter),
        format: reader.required(&top::LOG_FORMAT, value::log_format),
        access: reader.required(&top::LOG_ACCESS, value::access_log),
        shows_queries: reader.required(&top::LOG_QUERY, value::log_query),
    }
}
