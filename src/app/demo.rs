//! Demo mode: everything in one process, nothing to install. librdkafka's mock cluster stands in for Kafka, an echo for the backend,
//! and both roles run as they do in earnest.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::{App as WebApp, HttpRequest, HttpResponse, HttpServer, web};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::json;

use crate::app::App;
use crate::app::start_error::StartError;
use crate::process::assemble_error::AssembleError;
use crate::process::output;
use crate::settings::{Async, Later, Loaded, Mode, Settings, Topic, plain_topic};
use crate::wire::Format;

/// The mock holds no long polls: it answers an empty fetch after `fetch.wait.max.ms`, 500 ms by default (`rdkafka_mock_handlers.c:673`).
const FETCH_WAIT_MS: &str = "10";
const PARTITIONS: i32 = 4;
/// Where the console of a demo is, unless it is taken or `management_port` is set.
const CONSOLE_PORT: u16 = 8081;
/// The mock keeps 5 MB of a partition and drops what is older (`rdkafka_mock.c`, `partition_defaults`): a body must be read before that.
const LARGEST_BODY: usize = 2 << 20;

/// Starts the embedded broker, the echo backend, and both roles on them. The broker lives as long as the process.
///
/// # Errors
/// A port is taken, or the broker does not start.
pub async fn start(mut loaded: Loaded) -> Result<App, StartError> {
    let settings = &mut loaded.settings;
    let broker: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).map_err(AssembleError::Kafka)?;
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let backend_address = backend.local_addr()?;
    actix_web::rt::spawn(
        HttpServer::new(|| {
            WebApp::new()
                .app_data(web::PayloadConfig::new(LARGEST_BODY))
                .default_service(web::to(echo))
        })
        .workers(1)
        .disable_signals()
        .listen(backend)?
        .run(),
    );

    let topic = demo_topic(settings, &backend_address.to_string());
    let streams = &topic.streams;
    let results_topic = Later::default_results_topic(&topic.response_topic);
    for name in [
        &results_topic,
        &topic.request_topic,
        &topic.response_topic,
        &streams.control_topic,
        &streams.bodies_topic,
    ] {
        broker.create_topic(name, PARTITIONS, 1).map_err(AssembleError::Kafka)?;
    }
    settings.kafka.bootstrap_servers = broker.bootstrap_servers();
    settings
        .kafka
        .properties
        .insert("fetch.wait.max.ms".into(), FETCH_WAIT_MS.into());
    settings.create_topics.enabled = false;
    settings.proxy.warmup_topics = vec![topic.response_topic.clone()];
    for route in &mut settings.proxy.routes {
        route.request_topic.clone_from(&topic.request_topic);
        route.response_topic.clone_from(&topic.response_topic);
        route.streams.control_topic.clone_from(&streams.control_topic);
        route.streams.bodies_topic.clone_from(&streams.bodies_topic);
        route.later.results_topic.clone_from(&results_topic);
    }
    let later = &mut settings.proxy.later;
    later.results_topic = results_topic;
    if later.mode == Async::Off && settings.proxy.wire_format == Format::Native {
        later.mode = Async::Allowed;
    }
    let own = &mut settings.proxy.streams;
    own.control_topic.clone_from(&streams.control_topic);
    own.bodies_topic.clone_from(&streams.bodies_topic);
    settings.proxy.max_body_size = settings.proxy.largest_body().min(LARGEST_BODY);
    settings.processor.topics = vec![topic];
    settings.processor.dead_letter_topic = None;
    settings.pre_stop = Duration::ZERO;
    settings.mode = Mode::Demo;
    // Dropping it stops the broker; the end of the process does, too.
    std::mem::forget(broker);
    // A demo is not for the network, unless an address was given.
    for bind in [&mut settings.proxy.bind, &mut settings.management.bind] {
        *bind = loopback_for(*bind);
    }
    let (host, port) = (settings.proxy.bind, settings.proxy.port);
    if settings.management.port == 0 {
        settings.management.port = console_port(settings.management.bind)?;
    }
    let console = SocketAddr::new(settings.management.bind, settings.management.port);
    let app = App::start(loaded)?;
    say(format!(
        "demo: an embedded broker, an echo backend on {backend_address}, and both roles in this process\n\
         try:  curl -i -d 'hello' 'http://{host}:{port}/orders/7?colour=blue'   (ready after a few seconds; ctrl-c ends it)\n\
         see:  http://{console}/   (the console: what passes, as it passes)\n"
    ))?;
    Ok(app)
}

/// The port of the console, which a demo always has: the usual one if it is free.
fn console_port(bind: IpAddr) -> std::io::Result<u16> {
    let free = TcpListener::bind((bind, CONSOLE_PORT)).or_else(|_| TcpListener::bind((bind, 0)))?;
    Ok(free.local_addr()?.port())
}

/// Prints on a thread of its own: standard output may be a pipe that is full and not read.
fn say(text: String) -> std::io::Result<()> {
    // Err: nobody reads it.
    let print = move || drop(output::print(text));
    std::thread::Builder::new()
        .name("khp-demo".into())
        .spawn(print)
        .map(drop)
}

fn demo_topic(settings: &Settings, authority: &str) -> Topic {
    let (proxy, concurrency) = (&settings.proxy, settings.processor.max_concurrent_requests);
    Topic {
        name: "demo".into(),
        timeout: proxy.default_timeout,
        ..plain_topic(
            &proxy.request_topic,
            &proxy.response_topic,
            &format!("http://{authority}"),
            concurrency,
        )
    }
}

fn loopback_for(bind: IpAddr) -> IpAddr {
    if bind.is_unspecified() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        bind
    }
}

/// Shows what reached the backend.
async fn echo(request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let headers: Vec<[String; 2]> = request
        .headers()
        .iter()
        .map(|(name, value)| [name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()])
        .collect();
    HttpResponse::Ok().json(json!({
        "method": request.method().as_str(),
        "path": request.uri().to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    }))
}
