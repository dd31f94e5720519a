//! Restarts of proxies and processors under load, behind Debian's nginx: with SIGTERM and with SIGKILL.

use std::time::{Duration, Instant};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::kafka::free_port;
use crate::harness::load::{Load, OnClose, Report};
use crate::harness::names::Topics;
use crate::harness::nginx::Nginx;
use crate::harness::service::Service;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::wait::long;

const CLIENTS: usize = 12;
/// How many answers come between two restarts. There are about 300 a second.
const BETWEEN: usize = 200;
/// The time between two restarts at full length, which is two minutes.
const EVERY: Duration = Duration::from_secs(10);
/// The order of the restarts: 0 to 2 are the proxies, 3 and 4 the processors. nginx does not use a server for ten
/// seconds after it has failed, and answers 502 itself while it uses none. So the short version kills only two of the
/// proxies.
const TURNS: [usize; 5] = [0, 3, 1, 4, 2];

/// Three proxies on ports of their own, two processors, and nginx, in the order in which they end.
struct Stage {
    proxies: Vec<Service>,
    processors: Vec<Service>,
    topics: Topics,
    backend: Backend,
    ports: [u16; 3],
    nginx: Nginx,
}

fn proxy_on(topics: &Topics, port: u16) -> Spec {
    proxy(topics).set("port", port).set("pre_stop", 6)
}

fn request(body: String) -> Request {
    Request::post("/", body)
}

impl Stage {
    async fn start() -> Self {
        let topics = Topics::unique("orders");
        let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_millis(20))).await;
        let ports = [free_port(), free_port(), free_port()];
        let (mut proxies, mut processors) = (Vec::new(), Vec::new());
        for port in ports {
            proxies.push(proxy_on(&topics, port).start().await);
        }
        for _ in 0..2 {
            processors.push(processor(&[(&topics, &backend.url())]).start().await);
        }
        let servers = ports.map(|port| format!("server 127.0.0.1:{port};")).join(" ");
        let nginx = Nginx::start(&format!(
            "upstream proxies {{ {servers} keepalive 32; }}\n\
             server {{ listen 80; proxy_http_version 1.1; location / {{ proxy_pass http://proxies; \
             proxy_set_header Connection \"\"; add_header X-Upstream $upstream_addr always; }} }}"
        ))
        .await;
        Stage {
            topics,
            backend,
            ports,
            proxies,
            processors,
            nginx,
        }
    }

    fn load(&self, on_close: OnClose) -> Load {
        Load::start(&self.nginx.address(), CLIENTS, on_close, request)
    }

    /// Ends the proxies and processors in turn with this signal, and starts each again. Returns the ports of the proxies that ended, with
    /// repetitions.
    async fn restart_in_turn(&mut self, load: &Load, signal: &str) -> Vec<u16> {
        let (began, turns) = (Instant::now(), if long() { 12 } else { 4 });
        for (turn, index) in (0..turns).zip(TURNS.into_iter().cycle()) {
            load.wait_for_more(BETWEEN).await;
            if long() {
                tokio::time::sleep((EVERY * turn).saturating_sub(began.elapsed())).await;
            }
            let service = match index {
                0..3 => &mut self.proxies[index],
                _ => &mut self.processors[index - 3],
            };
            service.signal(signal);
            assert_eq!(service.wait_exit().await, (signal == "TERM").then_some(0));
            let spec = match index {
                0..3 => proxy_on(&self.topics, self.ports[index]),
                _ => processor(&[(&self.topics, &self.backend.url())]),
            };
            *service = spec.start().await;
        }
        load.wait_for_more(BETWEEN).await;
        let turns = TURNS.iter().cycle().take(turns as usize);
        turns.filter_map(|index| self.ports.get(*index).copied()).collect()
    }
}

fn print(what: &str, report: &Report) {
    println!(
        "{what}: {} answered, {} failed {:?}, slowest {:?}",
        report.answered,
        report.failures.len(),
        report.kinds,
        report.slowest
    );
}

#[tokio::test]
async fn a_rolling_restart_of_all_proxies_and_processors_fails_no_request() {
    let mut stage = Stage::start().await;
    let load = stage.load(OnClose::Persist);
    stage.restart_in_turn(&load, "TERM").await;
    let report = load.finish().await;
    print("rolling restart (TERM)", &report);
    assert_eq!(report.failures, Vec::<String>::new());
}

/// The requests in a killed proxy fail with their connections; nginx has sent it at most one request of each client.
/// The requests in a killed processor are executed by the other one.
#[tokio::test]
async fn kills_in_turn_fail_only_the_requests_in_the_killed_proxies() {
    let mut stage = Stage::start().await;
    let load = stage.load(OnClose::Persist);
    let killed = stage.restart_in_turn(&load, "KILL").await;
    let report = load.finish().await;
    print(
        &format!("all killed (-9) in turn, proxies {} times", killed.len()),
        &report,
    );
    assert!(report.failures.len() <= killed.len() * CLIENTS, "{:?}", report.failures);
    // nginx answers with its own page when the connection breaks. A 502 of the service would be a problem document.
    let kinds: Vec<&str> = report.kinds.keys().map(String::as_str).collect();
    assert!(kinds.is_empty() || kinds == ["502 of another"], "{:?}", report.failures);
    for failure in &report.failures {
        // Only one address, because nginx does not repeat a POST that it has sent.
        let is_via = |port: &u16| failure.contains(&format!("502 via 127.0.0.1:{port} "));
        assert!(killed.iter().any(is_via), "{failure}");
    }
}
