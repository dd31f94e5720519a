//! The instructions and allocations of the codecs and of the router's table, for each request.
//!
//!     cargo bench -p bench
//!
//! Valgrind (callgrind) counts the instructions, so a busy machine does not change them. Each operation runs in a process of its own: once
//! not at all, and once a thousand times. The difference is the cost of a thousand.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_khp::proxy::metrics::ProxyMetrics;
use actix_khp::proxy::reply_router::messages::ReplyResult;
use actix_khp::proxy::reply_router::pending::{Awaited, Pending, Waiting};
use actix_khp::proxy::routing::topics::{KnownTopic, KnownTopics};
use actix_khp::settings::{self, Mode};
use actix_khp::wire::{self, CorrelationId, Fields, Format, RawRecord, Record, Request, Response};
use bytes::Bytes;
use tokio::sync::oneshot;

const TIMES: usize = 1_000;
const BODY: usize = 1_000;

/// The system's allocator, with a count of its calls and its bytes.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Does something `times` times, and returns its allocations without those of its preparation.
type Operation = fn(times: usize) -> usize;

const OPERATIONS: [(&str, Operation); 9] = [
    ("native: encode request", |times| encode_request(Format::Native, times)),
    ("native: decode request", |times| decode_request(Format::Native, times)),
    ("native: encode reply", |times| encode_reply(Format::Native, times)),
    ("native: decode reply", |times| decode_reply(Format::Native, times)),
    ("json: encode request", |times| encode_request(Format::Json, times)),
    ("json: decode request", |times| decode_request(Format::Json, times)),
    ("json: encode reply", |times| encode_reply(Format::Json, times)),
    ("json: decode reply", |times| decode_reply(Format::Json, times)),
    ("router: register and complete", register_and_complete),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, name, times] = &arguments[..]
        && let (Some(operation), Ok(times)) = (operation(name), times.parse())
    {
        println!("{}", operation(times));
        return ExitCode::SUCCESS;
    }
    println!("{:<32}{:>14}{:>13}", "", "instructions", "allocations");
    for (name, _) in OPERATIONS {
        match (run(name, 0), run(name, TIMES)) {
            (Ok((idle, _)), Ok((instructions, allocations))) => {
                let each = |all: u64| all as f64 / TIMES as f64;
                println!(
                    "{name:<32}{:>14.0}{:>13.1}",
                    each(instructions.saturating_sub(idle)),
                    each(allocations)
                );
            }
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "\nrouter: {:.0} bytes for each entry beside its record",
        bytes_per_entry()
    );
    ExitCode::SUCCESS
}

fn operation(name: &str) -> Option<Operation> {
    let found = OPERATIONS.iter().find(|(known, _)| *known == name);
    found.map(|(_, operation)| *operation)
}

/// Runs an operation in a process of its own. Returns the instructions of the whole process and the allocations of the operation.
fn run(name: &str, times: usize) -> Result<(u64, u64), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &times.to_string()])
        .output()
        .map_err(|error| format!("valgrind (Debian: apt-get install valgrind): {error}"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split("Collected : ").nth(1));
    let instructions = collected.and_then(|number| number.trim().parse().ok());
    let allocations = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    instructions.zip(allocations).ok_or_else(|| report.into_owned())
}

/// The allocations of `work`.
fn counted(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// Runs `work` on things that were prepared, and returns its allocations.
fn on_each<T, R>(prepared: Vec<T>, work: impl Fn(T) -> R) -> usize {
    counted(|| {
        prepared
            .into_iter()
            .for_each(|item| drop(black_box(work(black_box(item)))))
    })
}

fn repeat<T>(times: usize, make: impl Fn() -> T) -> Vec<T> {
    (0..times).map(|_| make()).collect()
}

// Preparation costs instructions too, the same for each item. Cloning is cheap, because bytes are shared.

fn encode_request(format: Format, times: usize) -> usize {
    on_each(repeat(times, request), |request| format.encode_request(request))
}

fn decode_request(format: Format, times: usize) -> usize {
    let record = consumed(format.encode_request(request()));
    on_each(vec![&record; times], wire::decode_request)
}

fn encode_reply(format: Format, times: usize) -> usize {
    on_each(repeat(times, response), |response| format.encode_response(response))
}

fn decode_reply(format: Format, times: usize) -> usize {
    let record = consumed(format.encode_response(response()));
    on_each(vec![&record; times], wire::decode_response)
}

fn register_and_complete(times: usize) -> usize {
    let topic = topic();
    let record = consumed(Format::Native.encode_response(response()));
    let mut pending = Pending::default();
    let mut receivers = Vec::with_capacity(times);
    counted(|| {
        // Some requests are in flight at once, as under load.
        for _ in 0..times / 100 {
            let ids = repeat(100, || CorrelationId::new(7));
            for &id in &ids {
                receivers.push(register(&mut pending, &topic, id));
            }
            for id in ids {
                let claimed = pending.claim(id, record.clone(), |_, record| Some(record));
                let (waiting, record) = claimed.expect("it waits");
                waiting.reply(record);
            }
        }
    })
}

fn bytes_per_entry() -> f64 {
    const ENTRIES: usize = 10_000;
    let topic = topic();
    let mut pending = Pending::default();
    let mut receivers = Vec::with_capacity(ENTRIES);
    let before = BYTES.load(Ordering::Relaxed);
    for _ in 0..ENTRIES {
        receivers.push(register(&mut pending, &topic, CorrelationId::new(7)));
    }
    (BYTES.load(Ordering::Relaxed) - before) as f64 / ENTRIES as f64
}

fn register(pending: &mut Pending, topic: &Arc<KnownTopic>, id: CorrelationId) -> oneshot::Receiver<ReplyResult> {
    let (reply_tx, reply_rx) = oneshot::channel();
    let registered = pending.register(Waiting {
        id,
        request_topic: topic.clone(),
        reply_topic: topic.clone(),
        awaited: Awaited::Anywhere,
        sent: Instant::now(),
        deadline: Instant::now() + Duration::from_secs(30),
        queue: topic.load.queue(Duration::from_secs(30)),
        offer: None,
        reply_tx,
    });
    assert!(registered.is_ok());
    reply_rx
}

fn topic() -> Arc<KnownTopic> {
    let settings = settings::load(Mode::Proxy, &[], &BTreeMap::new())
        .expect("the defaults are legal")
        .settings;
    let metrics = ProxyMetrics::register(&prometheus::Registry::new()).expect("a new registry is empty");
    let topics = KnownTopics::new(&settings.proxy, &settings.create_topics, None, metrics);
    topics
        .configured(&settings.proxy.request_topic)
        .expect("a default topic is known")
}

/// A request as a browser makes it.
fn request() -> Request {
    Request {
        correlation_id: Bytes::copy_from_slice(&CorrelationId::new(7).to_bytes()),
        method: "POST".into(),
        path: "/api/orders/7?colour=blue".into(),
        authority: "shop.example:8080".into(),
        scheme: "http".into(),
        headers: fields(&[
            ("content-type", "application/json"),
            ("accept", "application/json, text/plain, */*"),
            ("accept-encoding", "gzip, deflate, br"),
            ("accept-language", "en-GB,en;q=0.9"),
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
            ),
            ("cookie", "session=0123456789abcdef0123456789abcdef"),
            ("via", "1.1 actix-khp"),
            ("x-forwarded-for", "192.0.2.17"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop.example:8080"),
            ("x-original-method", "POST"),
            ("x-request-id", "00070000-0000-8000-8000-000000000000"),
        ]),
        body: Some(Bytes::from(vec![b'x'; BODY])),
        reply_topic: Some("common-responses".into()),
        deadline_ms: Some(1_764_000_000_000),
        timeout_ms: Some(30_000),
        client_ip: Some("192.0.2.17".into()),
        principal: None,
        idempotency: None,
        ..Request::default()
    }
}

fn response() -> Response {
    Response {
        correlation_id: Bytes::copy_from_slice(&CorrelationId::new(7).to_bytes()),
        status: 200,
        headers: fields(&[
            ("content-type", "application/json"),
            ("content-length", "1000"),
            ("date", "Wed, 25 Nov 2026 04:00:00 GMT"),
            ("cache-control", "no-store"),
        ]),
        body: Bytes::from(vec![b'x'; BODY]),
        error: None,
    }
}

fn fields(pairs: &[(&'static str, &'static str)]) -> Fields {
    let field = |(name, value): &(&str, &'static str)| (name.to_string().into(), Bytes::from_static(value.as_bytes()));
    pairs.iter().map(field).collect()
}

/// A record as a consumer gets it from Kafka.
fn consumed(record: Record) -> RawRecord {
    let header = |(name, value): (_, Bytes)| {
        let name: std::borrow::Cow<'_, str> = name;
        (Bytes::copy_from_slice(name.as_bytes()), Some(value))
    };
    RawRecord {
        topic: Arc::from("common"),
        partition: 0,
        offset: 0,
        timestamp: None,
        key: record.key,
        value: Some(record.value),
        headers: record.headers.into_iter().map(header).collect(),
    }
}
