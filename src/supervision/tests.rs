//! Real panics, ends and freezes of real actors, on a real Kafka, in one process that plays both roles.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix_web::{App as WebApp, HttpRequest, HttpResponse, HttpServer, web};
use tokio::sync::watch;

use crate::app::App;
use crate::processor::worker::actor::tests::FAULT_HEADER;
use crate::proxy::reply_router::Fault;
use crate::settings::{self, Mode};
use crate::supervision::health_supervisor::Survey;
use crate::test_kafka;

/// Both roles, two topics, two backends, and what tests ask of them.
struct Stage {
    app: App,
    url: String,
    suffix: String,
    /// The backend's `/held` answers once this is true.
    open: watch::Sender<bool>,
    /// How many calls of `/held` are under way.
    held: watch::Receiver<usize>,
}

impl Stage {
    async fn set() -> Stage {
        let suffix = format!("{:08x}", rand::random::<u32>());
        let (open, opened) = watch::channel(false);
        let (counter, held) = watch::channel(0);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = format!("http://{}", listener.local_addr().unwrap());
        let (opened, counter) = (web::Data::new(opened), web::Data::new(counter));
        let make = move || {
            WebApp::new()
                .app_data(opened.clone())
                .app_data(counter.clone())
                .default_service(web::to(answer))
        };
        actix_web::rt::spawn(
            HttpServer::new(make)
                .workers(1)
                // Drops a held call when its caller goes: that is how the end of an old generation's call is seen.
                .h1_allow_half_closed(false)
                .disable_signals()
                .listen(listener)
                .unwrap()
                .run(),
        );
        let port = test_kafka::free_port();
        let topics = format!(
            "a:{suffix}-a-requests,{suffix}-responses,{backend},30;b:{suffix}-b-requests,{suffix}-responses,{backend},30"
        );
        let environment = BTreeMap::from(
            [
                ("KAFKA_BOOTSTRAP_SERVERS", test_kafka::brokers().to_string()),
                ("PROXY_PORT", port.to_string()),
                ("KAFKA_TOPICS", topics),
                ("WARMUP_TOPICS", format!("{suffix}-responses")),
                ("KHP__BIND", "127.0.0.1".into()),
                ("KHP__REQUEST_TOPIC", format!("{suffix}-a-requests")),
                ("KHP__RESPONSE_TOPIC", format!("{suffix}-responses")),
                ("KHP__CREATE_TOPICS__PARTITIONS", "2".into()),
                ("KHP__PRE_STOP", "0".into()),
                // Long beside what a busy machine needs: who waits for it is seen.
                ("KHP__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "45000".into()),
            ]
            .map(|(name, value)| (name.to_string(), value)),
        );
        let loaded = settings::load(Mode::All, &[], &environment).unwrap();
        let stage = Stage {
            app: App::start(loaded.settings).unwrap(),
            url: format!("http://127.0.0.1:{port}"),
            suffix,
            open,
            held,
        };
        stage
            .until("ready", |stage| stage.app.board().not_ready().is_empty())
            .await;
        stage
    }

    /// Waits for a state; fails after half a minute.
    async fn until(&self, what: &str, reached: impl Fn(&Stage) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !reached(self) {
            assert!(
                Instant::now() < deadline,
                "not reached: {what}; {:?}",
                self.app.board().not_ready()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// One request to topic `a` or `b`; status and body.
    fn get(&self, topic: &str, path: &str, fault: Option<&str>) -> impl Future<Output = (u16, String)> + 'static {
        let client = awc::Client::builder().disable_timeout().finish();
        let mut request = client
            .get(format!("{}{path}", self.url))
            .insert_header(("x-kafka-topic", format!("{}-{topic}-requests", self.suffix)));
        if let Some(fault) = fault {
            request = request.insert_header((std::str::from_utf8(FAULT_HEADER).unwrap(), fault));
        }
        async move {
            let mut response = request.send().await.unwrap();
            let body = response.body().await.unwrap();
            (response.status().as_u16(), String::from_utf8(body.to_vec()).unwrap())
        }
    }

    async fn restarts(&self, actor: &str) -> (u64, Option<String>) {
        let survey = self.app.board().supervisor.get().unwrap().send(Survey).await.unwrap();
        let report = survey.into_iter().find(|report| report.actor == actor).unwrap();
        (report.restarts, report.last_exit)
    }

    fn in_flight(&self) -> (i64, i64) {
        let board = self.app.board();
        (
            board.proxy.as_ref().unwrap().metrics.pending.get(),
            board.processor.as_ref().unwrap().metrics.in_flight.get(),
        )
    }

    async fn clear(self) {
        self.until("nothing in flight", |stage| stage.in_flight() == (0, 0))
            .await;
        assert_eq!(self.app.shut_down().await, 0);
    }
}

async fn answer(
    request: HttpRequest,
    opened: web::Data<watch::Receiver<bool>>,
    held: web::Data<watch::Sender<usize>>,
) -> HttpResponse {
    struct Held(web::Data<watch::Sender<usize>>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.send_modify(|held| *held -= 1);
        }
    }
    if request.path() == "/held" {
        held.send_modify(|held| *held += 1);
        let _held = Held(held);
        let mut opened = opened.get_ref().clone();
        opened.wait_for(|open| *open).await.unwrap();
    }
    HttpResponse::Ok().body("answered")
}

#[test]
fn a_worker_that_panics_is_replaced_and_its_records_are_answered_while_other_topics_never_notice() {
    actix::System::new().block_on(async {
        let stage = Stage::set().await;
        let held = actix::spawn(stage.get("a", "/held", None));
        stage.until("a call under way", |stage| *stage.held.borrow() == 1).await;
        let struck = actix::spawn(stage.get("a", "/", Some("panic-once")));
        let began = Instant::now();
        while stage.restarts("topic_worker:a:0").await.0 == 0 {
            assert_eq!(stage.get("b", "/", None).await.0, 200, "the other topic goes on");
        }
        // The old generation's call ends with its Arbiter; the new one makes its own.
        stage
            .until("the old call gone", |stage| *stage.held.borrow() <= 1)
            .await;
        stage.open.send_replace(true);
        assert_eq!(held.await.unwrap(), (200, "answered".to_string()));
        assert_eq!(struck.await.unwrap(), (200, "answered".to_string()));
        assert!(
            began.elapsed() < Duration::from_secs(25),
            "the old pump left its group: no session timeout was waited for"
        );
        assert_eq!(
            stage.restarts("topic_worker:a:0").await,
            (1, Some("panicked: asked to panic".into()))
        );
        assert_eq!(stage.restarts("topic_worker:b:0").await, (0, None));
        stage.clear().await;
    });
}

#[test]
fn a_worker_that_stops_or_freezes_is_replaced() {
    actix::System::new().block_on(async {
        let stage = Stage::set().await;
        assert_eq!(
            stage.get("a", "/", Some("stop-once")).await,
            (200, "answered".to_string())
        );
        assert_eq!(
            stage.restarts("topic_worker:a:0").await,
            (1, Some("stopped, its input ended".into()))
        );
        assert_eq!(
            stage.get("a", "/", Some("freeze-once")).await,
            (200, "answered".to_string())
        );
        assert_eq!(
            stage.restarts("topic_worker:a:0").await,
            (2, Some("stalled, no sign of progress".into()))
        );
        assert_eq!(stage.restarts("topic_worker:b:0").await, (0, None));
        assert_eq!(stage.app.shut_down().await, 0);
    });
}

#[test]
fn requests_of_a_router_that_panics_get_reply_lost_at_once_and_the_next_one_succeeds() {
    router_is_replaced(Fault::Panic, Duration::from_secs(10), "panicked: asked to panic");
}

#[test]
fn requests_of_a_router_that_freezes_get_reply_lost_once_it_is_given_up() {
    router_is_replaced(
        Fault::Freeze(Duration::from_secs(20)),
        Duration::from_secs(18),
        "stalled, no sign of progress",
    );
}

fn router_is_replaced(fault: Fault, limit: Duration, cause: &str) {
    actix::System::new().block_on(async {
        let stage = Stage::set().await;
        let held = actix::spawn(stage.get("a", "/held", None));
        stage.until("a call under way", |stage| *stage.held.borrow() == 1).await;
        let router = || stage.app.board().proxy.as_ref().unwrap().router.borrow().clone();
        let began = Instant::now();
        router().unwrap().addr.do_send(fault);
        let (status, body) = held.await.unwrap();
        assert_eq!(status, 502, "{body}");
        assert!(body.contains(r#""code":"reply-lost""#), "{body}");
        assert!(began.elapsed() < limit, "{:?}", began.elapsed());
        stage
            .until("a new router", |_| {
                router().is_some_and(|router| router.generation == 2)
            })
            .await;
        assert_eq!(stage.get("b", "/", None).await.0, 200);
        assert_eq!(stage.restarts("reply_router").await, (1, Some(cause.to_string())));
        stage.open.send_replace(true);
        let late = |stage: &Stage| stage.app.board().proxy.as_ref().unwrap().metrics.late_replies.get();
        stage
            .until("the lost reply counted as late", |stage| late(stage) == 1)
            .await;
        stage.clear().await;
    });
}

#[test]
fn a_process_whose_supervisor_dies_ends_with_70_to_be_started_again() {
    actix::System::new().block_on(async {
        let stage = Stage::set().await;
        stage.app.board().supervisor.get().unwrap().do_send(Fault::Panic);
        let mut signals = crate::process::signals::Signals::install().unwrap();
        let code = tokio::time::timeout(Duration::from_secs(30), stage.app.run(&mut signals)).await;
        assert_eq!(code.unwrap(), 70);
    });
}
