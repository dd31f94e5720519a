//! Restarts under load, behind Debian's nginx: of proxies and of processors, with notice and without.

use std::time::{Duration, Instant};

use crate::harness::app::{App, Spec, processor, proxy};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::kafka::free_port;
use crate::harness::load::{Load, OnClose, Report};
use crate::harness::nginx::Nginx;
use crate::harness::{Topics, long};

const CLIENTS: usize = 12;
/// Answers between two restarts, of about 300 a second; at full length a restart comes each `EVERY`, for two minutes.
const BETWEEN: usize = 200;
const EVERY: Duration = Duration::from_secs(10);
/// Whose turn it is: three proxies, then two processors. nginx leaves a server that failed alone for ten seconds, and answers 502
/// itself with all three left alone: not at full length, and in the short one, which is quicker, only two are killed.
const TURNS: [usize; 5] = [0, 3, 1, 4, 2];

/// Three proxies on ports of their own, two processors, and nginx.
struct Stage {
    topics: Topics,
    backend: Backend,
    ports: [u16; 3],
    proxies: Vec<App>,
    processors: Vec<App>,
    nginx: Nginx,
}

fn proxy_on(topics: &Topics, port: u16) -> Spec {
    proxy(topics).set("port", port).set("pre_stop", 6)
}

fn request(body: String) -> Request {
    Request::post("/", body)
}

impl Stage {
    async fn set() -> Self {
        let topics = Topics::unique("orders");
        let backend =
            Backend::start(|received| Answer::body(received.body.clone()).after(Duration::from_millis(20))).await;
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

    /// Ends the proxies and processors in turn with this signal, and starts each again. Returns the ports of the proxies it was, one for
    /// each time.
    async fn restart_in_turn(&mut self, load: &Load, signal: &str) -> Vec<u16> {
        let (began, turns) = (Instant::now(), if long() { 12 } else { 4 });
        for (turn, index) in (0..turns).zip(TURNS.into_iter().cycle()) {
            load.wait_for_more(BETWEEN).await;
            if long() {
                tokio::time::sleep((EVERY * turn).saturating_sub(began.elapsed())).await;
            }
            let app = match index {
                0..3 => &mut self.proxies[index],
                _ => &mut self.processors[index - 3],
            };
            app.signal(signal).await;
            assert_eq!(app.wait_exit().await, (signal == "TERM").then_some(0));
            let spec = match index {
                0..3 => proxy_on(&self.topics, self.ports[index]),
                _ => processor(&[(&self.topics, &self.backend.url())]),
            };
            *app = spec.start().await;
        }
        load.wait_for_more(BETWEEN).await;
        let turns = TURNS.iter().cycle().take(turns as usize);
        turns.filter_map(|index| self.ports.get(*index).copied()).collect()
    }

    async fn assert_idle(&self) {
        for app in self.proxies.iter().chain(&self.processors) {
            app.wait_until_idle().await;
        }
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
    let mut stage = Stage::set().await;
    let load = stage.load(OnClose::Persist);
    stage.restart_in_turn(&load, "TERM").await;
    let report = load.finish().await;
    print("rolling restart (TERM)", &report);
    assert_eq!(report.failures, Vec::<String>::new());
    stage.assert_idle().await;
}

/// What was in the killed proxy is lost with its connections; nginx may have sent no more than a request a client to it. A killed
/// processor fails nobody: what it held is done by the other.
#[tokio::test]
async fn killing_them_fails_only_the_requests_inside_the_killed_proxy() {
    let mut stage = Stage::set().await;
    let load = stage.load(OnClose::Persist);
    let killed = stage.restart_in_turn(&load, "KILL").await;
    let report = load.finish().await;
    print(
        &format!("all killed (-9) in turn, proxies {} times", killed.len()),
        &report,
    );
    assert!(report.failures.len() <= killed.len() * CLIENTS, "{:?}", report.failures);
    // nginx's own page, as the connection broke; a 502 of ours would be a problem document.
    let kinds: Vec<&str> = report.kinds.keys().map(String::as_str).collect();
    assert!(kinds.is_empty() || kinds == ["502 of another"], "{:?}", report.failures);
    for failure in &report.failures {
        // An address alone, with nothing tried after it: a POST that was sent is not sent again.
        let is_via = |port: &u16| failure.contains(&format!("502 via 127.0.0.1:{port} "));
        assert!(killed.iter().any(is_via), "{failure}");
    }
    stage.assert_idle().await;
}
