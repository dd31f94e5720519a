//! A process that stood still (SIGSTOP, a paused or migrated machine) goes on: its requests in flight are answered, and no actor is
//! replaced.

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Connection, Request};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::eventually;

/// Longer than an actor may show no sign of life.
const STANDSTILL: Duration = Duration::from_secs(17);

/// A proxy and a processor with five requests in flight. The backend answers after three seconds, so in the midst of a standstill.
struct Scene {
    proxy: Service,
    processor: Service,
    backend: Backend,
    waiting: Vec<Connection>,
}

impl Scene {
    async fn set() -> Self {
        let topics = Topics::unique("orders");
        let backend = Backend::start(|received| Answer::echo(received).after(Duration::from_secs(3))).await;
        let processor = processor(&[(&topics, &backend.url())])
            // Answered in time, but for the standstill: who looks only at the clock sees a timeout.
            .set_topics("timeout", 15)
            .set_topics("max_retries", 0)
            .set("health_check_interval", 2)
            .start()
            .await;
        let proxy = proxy(&topics).set("default_timeout", 120).start().await;
        Scene {
            proxy,
            processor,
            backend,
            waiting: Vec::new(),
        }
    }

    async fn send(&mut self, count: usize) {
        let posts = || {
            self.backend
                .received()
                .iter()
                .filter(|call| call.method == "POST")
                .count()
        };
        let before = posts();
        for number in 0..count {
            let request = Request::post("/", number.to_string());
            self.waiting.push(self.proxy.leave_waiting(&request).await);
        }
        eventually("the backend is called", async || {
            let came = posts() - before;
            (came >= count).then_some(()).ok_or(format!("{came} of {count}"))
        })
        .await;
    }

    /// Every request is answered by the backend, and nobody was replaced.
    async fn assert_unharmed(&mut self) {
        for (number, client) in self.waiting.iter_mut().enumerate() {
            let answer = client.read_response(false).await.expect("an answer");
            assert_eq!(answer.status, 200, "request {number}: {answer:?}");
        }
        for service in [&self.proxy, &self.processor] {
            service.assert_no_restarts().await;
        }
        assert_eq!(
            self.processor.logged("backend is down"),
            0,
            "the health check was no verdict either"
        );
    }
}

async fn stand_still(service: &Service, time: Duration) {
    service.signal("STOP");
    sleep(time).await;
    service.signal("CONT");
}

#[tokio::test]
async fn a_processor_that_stood_still_answers_what_was_in_flight() {
    let mut scene = Scene::set().await;
    scene.send(5).await;
    stand_still(&scene.processor, STANDSTILL).await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn a_proxy_that_stood_still_answers_what_was_in_flight() {
    let mut scene = Scene::set().await;
    scene.send(5).await;
    stand_still(&scene.proxy, STANDSTILL).await;
    scene.assert_unharmed().await;
}

#[tokio::test]
async fn several_standstills_in_a_row_harm_nobody() {
    let mut scene = Scene::set().await;
    scene.send(5).await;
    for pause in [50, 400, 1_500] {
        stand_still(&scene.proxy, STANDSTILL).await;
        sleep(Duration::from_millis(pause)).await;
    }
    scene.assert_unharmed().await;
    scene.waiting.clear();
    for pause in [50, 400, 1_500] {
        stand_still(&scene.processor, STANDSTILL).await;
        sleep(Duration::from_millis(pause)).await;
    }
    scene.send(5).await;
    scene.assert_unharmed().await;
}
