//! Real panics, ends and freezes of a toy actor: each is replaced, and nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, System};
use futures_util::FutureExt;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};

use crate::process::progress::Progress;
use crate::supervision::health_supervisor::{HealthSupervisor, Retire, Survey, restarts};
use crate::supervision::release::{Release, Released, Supervise};
use crate::supervision::spawn_watched::spawn_watched;
use crate::supervision::stall::STALLED_AFTER;
use crate::supervision::supervised::{ExitNotice, Home, Life, Pump, Supervised};

/// An actor that does what it is told.
struct Toy(Progress);

#[derive(Message)]
#[rtype(result = "()")]
enum Do {
    Panic,
    Stop,
    Freeze(Duration),
}

impl Actor for Toy {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_millis(100), |toy, _| toy.0.touch());
    }
}

impl Handler<Do> for Toy {
    type Result = ();
    fn handle(&mut self, message: Do, ctx: &mut Self::Context) {
        match message {
            Do::Panic => panic!("asked to panic"),
            Do::Stop => ctx.stop(),
            Do::Freeze(time) => std::thread::sleep(time),
        }
    }
}

/// The present generation of a toy, as its users see it.
type Present = watch::Sender<Option<(u64, Addr<Toy>)>>;

/// Makes toys.
struct ToyFactory {
    name: String,
    present: Arc<Present>,
    pumps: Arc<ToyPumps>,
    /// Launches that fail before one succeeds.
    failures: usize,
}

/// The pumps of a toy's generations.
#[derive(Default)]
struct ToyPumps {
    running: AtomicUsize,
    most: AtomicUsize,
    /// From now on a pump that is stopped goes on.
    endless: AtomicBool,
    /// For now a pump that is stopped goes on.
    held: AtomicBool,
}

struct ToyPump {
    pumps: Arc<ToyPumps>,
    stopped: AtomicBool,
}

impl Pump for ToyPump {
    fn drain(&self) {
        self.stop();
    }
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
    fn is_drained(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
    fn join(&mut self, limit: Duration) -> bool {
        let began = Instant::now();
        while self.pumps.held.load(Ordering::SeqCst) && began.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(1));
        }
        let ended = self.is_drained() && !self.pumps.endless.load(Ordering::SeqCst);
        if ended {
            self.pumps.running.fetch_sub(1, Ordering::SeqCst);
        }
        ended
    }
}

impl Supervised for ToyFactory {
    fn name(&self) -> &str {
        &self.name
    }
    fn launch(&mut self, generation: u64, home: &Home, exited: ExitNotice) -> Result<Life, String> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err("asked to fail".to_string());
        }
        let progress = Progress::default();
        let sign_of_life = progress.clone();
        let toy = spawn_watched(home, move |_| Toy(sign_of_life), exited).ok_or("no thread")?;
        let running = self.pumps.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.pumps.most.fetch_max(running, Ordering::SeqCst);
        self.present.send_replace(Some((generation, toy)));
        let pump = ToyPump {
            pumps: self.pumps.clone(),
            stopped: AtomicBool::new(false),
        };
        Ok(Life {
            progress: vec![progress],
            pump: Some(Box::new(pump)),
        })
    }
    fn generation_ended(&mut self) {
        self.present.send_replace(None);
    }
}

/// Toys under supervision.
struct Nursery {
    supervisor: Addr<HealthSupervisor>,
    present: Arc<Present>,
    pumps: Arc<ToyPumps>,
    /// What the supervisor gave up with.
    fatal: mpsc::UnboundedReceiver<String>,
}

impl Nursery {
    /// A toy that cannot start at first, and another.
    fn open(failures: usize) -> Self {
        Self::crowded(failures, 1)
    }

    /// A toy, and so many others.
    fn crowded(failures: usize, others: usize) -> Self {
        let (present, pumps) = (Arc::new(watch::channel(None).0), Arc::<ToyPumps>::default());
        let toy: Box<dyn Supervised> = Box::new(ToyFactory {
            name: "toy".to_string(),
            present: present.clone(),
            pumps: pumps.clone(),
            failures,
        });
        let other = |number| -> Box<dyn Supervised> {
            Box::new(ToyFactory {
                name: format!("other {number}"),
                present: Arc::default(),
                pumps: Arc::default(),
                failures: 0,
            })
        };
        let supervised = std::iter::once(toy).chain((0..others).map(other)).collect();
        let (give_up, fatal) = mpsc::unbounded_channel();
        let give_up = move |why| give_up.send(why).unwrap();
        let supervisor = HealthSupervisor::new(supervised, restarts(&Registry::new()).unwrap(), give_up);
        Nursery {
            supervisor: supervisor.start(),
            present,
            pumps,
            fatal,
        }
    }

    /// The toy, once it has a generation of at least this number.
    async fn toy(&self, generation: u64) -> Addr<Toy> {
        let mut present = self.present.subscribe();
        let arrived = present.wait_for(|present| present.as_ref().is_some_and(|(number, _)| *number >= generation));
        let arrived = tokio::time::timeout(Duration::from_secs(40), arrived).await;
        arrived.expect("no new generation").unwrap().as_ref().unwrap().1.clone()
    }

    async fn report(&self, actor: &str) -> (u64, Option<String>) {
        let survey = self.supervisor.send(Survey).await.unwrap();
        let report = survey.into_iter().find(|report| report.actor == actor).unwrap();
        (report.restarts, report.last_exit)
    }
}

#[test]
fn an_actor_that_panics_or_stops_is_replaced_after_its_pump_and_no_other_is() {
    System::new().block_on(async {
        let nursery = Nursery::open(0);
        nursery.toy(1).await.do_send(Do::Panic);
        let second = nursery.toy(2).await;
        let panicked = Some("panicked: asked to panic".to_string());
        assert_eq!(nursery.report("toy").await, (1, panicked));
        second.do_send(Do::Stop);
        nursery.toy(3).await;
        let stopped = Some("stopped, its input ended".to_string());
        assert_eq!(nursery.report("toy").await, (2, stopped));
        assert_eq!(nursery.report("other 0").await, (0, None));
        assert_eq!(nursery.pumps.most.load(Ordering::SeqCst), 1, "two pumps at once");
    });
}

#[test]
fn an_actor_that_freezes_is_replaced_once_it_is_given_up() {
    System::new().block_on(async {
        let nursery = Nursery::open(0);
        let began = Instant::now();
        nursery.toy(1).await.do_send(Do::Freeze(STALLED_AFTER * 2));
        nursery.toy(2).await;
        assert!(began.elapsed() >= STALLED_AFTER, "{:?}", began.elapsed());
        let stalled = Some("stalled, no sign of progress".to_string());
        assert_eq!(nursery.report("toy").await, (1, stalled));
        assert_eq!(nursery.report("other 0").await, (0, None));
    });
}

#[test]
fn neighbours_of_an_actor_that_panics_go_on_and_those_of_one_that_freezes_are_replaced() {
    System::new().block_on(async {
        let others = 63;
        let nursery = Nursery::crowded(0, others);
        nursery.toy(1).await.do_send(Do::Panic);
        let second = nursery.toy(2).await;
        for number in 0..others {
            assert_eq!(nursery.report(&format!("other {number}")).await, (0, None));
        }
        second.do_send(Do::Freeze(STALLED_AFTER * 2));
        nursery.toy(3).await;
        let mut replaced = 0;
        for number in 0..others {
            replaced += nursery.report(&format!("other {number}")).await.0;
        }
        // 64 on 16 threads, and the second toy went to the one with the fewest.
        assert_eq!(replaced, 3);
    });
}

#[test]
fn an_actor_that_cannot_start_is_tried_again() {
    System::new().block_on(async {
        let nursery = Nursery::open(2);
        nursery.toy(3).await;
        assert_eq!(
            nursery.report("toy").await,
            (0, None),
            "what never ran was not restarted"
        );
    });
}

#[test]
fn a_pump_that_does_not_end_is_given_up() {
    System::new().block_on(async {
        let mut nursery = Nursery::open(0);
        nursery.pumps.endless.store(true, Ordering::SeqCst);
        nursery.toy(1).await.do_send(Do::Panic);
        let why = nursery.fatal.recv().await.unwrap();
        assert!(why.contains("the pump of toy does not end"), "{why}");
        assert_eq!(nursery.pumps.most.load(Ordering::SeqCst), 1, "two pumps at once");
    });
}

#[test]
fn nothing_is_replaced_after_the_supervisor_retired() {
    System::new().block_on(async {
        let nursery = Nursery::open(0);
        let toy = nursery.toy(1).await;
        let retired = nursery.supervisor.send(Retire).await.unwrap();
        assert_eq!(retired.pumps.len(), 2, "what runs is handed over");
        toy.do_send(Do::Panic);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(nursery.report("toy").await, (0, None));
    });
}

#[test]
fn an_actor_that_is_released_is_not_replaced_and_another_may_come_in_its_place() {
    System::new().block_on(async {
        let nursery = Nursery::open(0);
        let toy = nursery.toy(1).await;
        let release = async || {
            let (actor, limit) = ("toy".to_owned(), Duration::from_secs(1));
            nursery.supervisor.send(Release { actor, limit }).await.unwrap()
        };
        assert_eq!(release().await, Released::Drained);
        assert_eq!(nursery.pumps.running.load(Ordering::SeqCst), 0);
        assert!(nursery.present.borrow().is_none(), "nothing is sent to it any more");
        let names = || async {
            let survey = nursery.supervisor.send(Survey).await.unwrap();
            survey.into_iter().map(|report| report.actor).collect::<Vec<_>>()
        };
        assert_eq!(names().await, ["other 0"]);
        // Its thread ends, and with it the actor.
        while toy.connected() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(release().await, Released::Drained, "there is none");

        let another = ToyFactory {
            name: "toy".to_owned(),
            present: nursery.present.clone(),
            pumps: nursery.pumps.clone(),
            failures: 0,
        };
        nursery.supervisor.send(Supervise(Box::new(another))).await.unwrap();
        nursery.toy(1).await;
        assert_eq!(nursery.report("toy").await, (0, None));
        nursery.pumps.endless.store(true, Ordering::SeqCst);
        assert_eq!(release().await, Released::Stuck);
    });
}

#[test]
fn an_actor_that_is_released_while_it_is_replaced_has_left_when_that_is_answered() {
    System::new().block_on(async {
        let nursery = Nursery::open(0);
        let toy = nursery.toy(1).await;
        nursery.pumps.held.store(true, Ordering::SeqCst);
        toy.do_send(Do::Panic);
        let mut present = nursery.present.subscribe();
        present.wait_for(Option::is_none).await.unwrap();
        let (actor, limit) = ("toy".to_owned(), Duration::from_secs(1));
        let mut released = Box::pin(nursery.supervisor.send(Release { actor, limit }));
        assert!(released.as_mut().now_or_never().is_none());
        // It has been handled once what was sent after it is answered.
        assert_eq!(nursery.supervisor.send(Survey).await.unwrap().len(), 1);
        assert!(released.as_mut().now_or_never().is_none(), "its pump still runs");
        nursery.pumps.held.store(false, Ordering::SeqCst);
        assert_eq!(released.await.unwrap(), Released::Drained);
        assert_eq!(nursery.pumps.running.load(Ordering::SeqCst), 0);
    });
}
