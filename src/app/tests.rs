//! Ends and freezes of real actors, on a real Kafka, in one process that plays both roles.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use actix_web::{App as WebApp, HttpRequest, HttpResponse, HttpServer, web};
use tokio::sync::{mpsc, watch};

use crate::app::App;
use crate::settings::{self, Mode};
use crate::supervision::exit_reason::ExitReason;
use crate::supervision::health_supervisor::Survey;
use crate::supervision::stall::STALLED_AFTER;
use crate::supervision::supervised::{ExitNotice, Home, Life, Supervised};
use crate::test_kafka;

/// What a test does to the present generation of an actor, from outside.
enum Fault {
    /// It ends, and the supervisor hears that it did so like this.
    End(ExitReason),
    /// Its thread stands still for so long.
    Freeze(Duration),
    /// The supervisor panics as it takes note of the actor's end.
    KillSupervisor,
}

/// An actor's factory, through which faults reach its generations.
struct Faulty {
    inner: Box<dyn Supervised>,
    present: watch::Sender<Option<(Home, mpsc::UnboundedSender<ExitReason>)>>,
    kills_supervisor: watch::Receiver<bool>,
}

/// The test's end of a `Faulty`.
struct Handle {
    present: watch::Receiver<Option<(Home, mpsc::UnboundedSender<ExitReason>)>>,
    kills_supervisor: watch::Sender<bool>,
}

impl Faulty {
    fn wrap(inner: Box<dyn Supervised>) -> (Self, Handle) {
        let (present, present_receiver) = watch::channel(None);
        let (kills, kills_supervisor) = watch::channel(false);
        let faulty = Faulty {
            inner,
            present,
            kills_supervisor,
        };
        let handle = Handle {
            present: present_receiver,
            kills_supervisor: kills,
        };
        (faulty, handle)
    }
}

impl Supervised for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn launch(&mut self, generation: u64, home: &Home, exited: ExitNotice) -> Result<Life, String> {
        let (ends, mut ended) = mpsc::unbounded_channel();
        let by_itself = ends.clone();
        let life = self
            .inner
            .launch(generation, home, Box::new(move |reason| drop(by_itself.send(reason))))?;
        self.present.send_replace(Some((home.clone(), ends)));
        actix::spawn(async move {
            if let Some(reason) = ended.recv().await {
                exited(reason);
            }
        });
        Ok(life)
    }

    fn generation_ended(&mut self) {
        assert!(!*self.kills_supervisor.borrow(), "asked to panic");
        self.inner.generation_ended();
    }
}

impl Handle {
    fn inflict(&self, fault: Fault) {
        let present = self.present.borrow();
        let (home, ends) = present.as_ref().unwrap();
        match fault {
            Fault::End(reason) => {
                ends.send(reason).unwrap();
                home.over.cancel();
            }
            Fault::Freeze(time) => assert!(home.arbiter.spawn_fn(move || std::thread::sleep(time))),
            Fault::KillSupervisor => {
                self.kills_supervisor.send_replace(true);
                ends.send(ExitReason::Stopped).unwrap();
            }
        }
    }
}

/// Both roles, two topics, two backends, and what tests ask of them.
struct Stage {
    app: App,
    actors: HashMap<String, Handle>,
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
        let actors = RefCell::new(HashMap::new());
        let wrap = |inner: Box<dyn Supervised>| -> Box<dyn Supervised> {
            let (faulty, handle) = Faulty::wrap(inner);
            actors.borrow_mut().insert(faulty.name().to_owned(), handle);
            Box::new(faulty)
        };
        let stage = Stage {
            app: App::start_with(loaded, wrap).unwrap(),
            actors: actors.into_inner(),
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
    fn get(&self, topic: &str, path: &str) -> impl Future<Output = (u16, String)> + 'static {
        let client = awc::Client::builder().disable_timeout().finish();
        let request = client
            .get(format!("{}{path}", self.url))
            .insert_header(("x-kafka-topic", format!("{}-{topic}-requests", self.suffix)));
        async move {
            let mut response = request.send().await.unwrap();
            let body = response.body().await.unwrap();
            (response.status().as_u16(), String::from_utf8(body.to_vec()).unwrap())
        }
    }

    fn inflict(&self, actor: &str, fault: Fault) {
        self.actors[actor].inflict(fault);
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
fn a_worker_that_dies_is_replaced_and_its_records_are_answered_while_other_topics_never_notice() {
    actix::System::new().block_on(async {
        let stage = Stage::set().await;
        let held = actix::spawn(stage.get("a", "/held"));
        stage.until("a call under way", |stage| *stage.held.borrow() == 1).await;
        let began = Instant::now();
        stage.inflict(
            "topic_worker:a:0",
            Fault::End(ExitReason::Panicked("asked to panic".into())),
        );
        let struck = actix::spawn(stage.get("a", "/"));
        while stage.restarts("topic_worker:a:0").await.0 == 0 {
            assert_eq!(stage.get("b", "/").await.0, 200, "the other topic goes on");
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
        stage.inflict("topic_worker:a:0", Fault::End(ExitReason::Stopped));
        assert_eq!(stage.get("a", "/").await, (200, "answered".to_string()));
        assert_eq!(
            stage.restarts("topic_worker:a:0").await,
            (1, Some("stopped, its input ended".into()))
        );
        stage.inflict("topic_worker:a:0", Fault::Freeze(STALLED_AFTER * 2));
        assert_eq!(stage.get("a", "/").await, (200, "answered".to_string()));
        assert_eq!(
            stage.restarts("topic_worker:a:0").await,
            (2, Some("stalled, no sign of progress".into()))
        );
        assert_eq!(stage.restarts("topic_worker:b:0").await, (0, None));
        assert_eq!(stage.app.shut_down().await, 0);
    });
}

#[test]
fn requests_of_a_router_that_dies_get_reply_lost_at_once_and_the_next_one_succeeds() {
    router_is_replaced(
        Fault::End(ExitReason::Panicked("asked to panic".into())),
        Duration::from_secs(10),
        "panicked: asked to panic",
    );
}

#[test]
fn requests_of_a_router_that_freezes_get_reply_lost_once_it_is_given_up() {
    router_is_replaced(
        Fault::Freeze(STALLED_AFTER * 2),
        STALLED_AFTER + Duration::from_secs(10),
        "stalled, no sign of progress",
    );
}

fn router_is_replaced(fault: Fault, limit: Duration, cause: &str) {
    actix::System::new().block_on(async {
        let stage = Stage::set().await;
        let held = actix::spawn(stage.get("a", "/held"));
        stage.until("a call under way", |stage| *stage.held.borrow() == 1).await;
        let router = || stage.app.board().proxy.as_ref().unwrap().router.borrow().clone();
        let began = Instant::now();
        stage.inflict("reply_router", fault);
        let (status, body) = held.await.unwrap();
        assert_eq!(status, 502, "{body}");
        assert!(body.contains(r#""code":"reply-lost""#), "{body}");
        assert!(began.elapsed() < limit, "{:?}", began.elapsed());
        stage
            .until("a new router", |_| {
                router().is_some_and(|router| router.generation == 2)
            })
            .await;
        assert_eq!(stage.get("b", "/").await.0, 200);
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
        stage.inflict("topic_worker:a:0", Fault::KillSupervisor);
        let mut signals = crate::process::signals::Signals::install().unwrap();
        let code = tokio::time::timeout(Duration::from_secs(30), stage.app.run(&mut signals)).await;
        assert_eq!(code.unwrap(), 70);
    });
}
