//! Puts other workers in the place of some, while the process runs.

use std::time::Duration;

use actix::Addr;

use crate::supervision::health_supervisor::HealthSupervisor;
use crate::supervision::release::{Release, Released, Supervise};
use crate::supervision::supervised::Supervised;

/// Ends workers, then starts others: no two may be in a group under one name, and a record is not to be worked on twice.
pub async fn exchange(
    supervisor: Addr<HealthSupervisor>,
    released: Vec<String>,
    supervised: Vec<Box<dyn Supervised>>,
    limit: Duration,
    stuck: impl Fn(String),
) {
    let ends = released.into_iter().map(|actor| {
        let end = supervisor.send(Release {
            actor: actor.clone(),
            limit,
        });
        async move { (actor, end.await) }
    });
    for (actor, released) in futures_util::future::join_all(ends).await {
        match released {
            Ok(Released::Drained) => tracing::info!(actor, "a worker ended"),
            Ok(Released::CutOff) => tracing::warn!(
                actor,
                "a worker was cut off: records were under way at the limit (raise drain_timeout) and run again"
            ),
            Ok(Released::Stuck) => {
                return stuck(format!(
                    "the pump of {actor} does not end, and two for one worker must not run"
                ));
            }
            // The supervisor is gone, and the process ends.
            Err(_) => return,
        }
    }
    supervised
        .into_iter()
        .for_each(|each| supervisor.do_send(Supervise(each)));
}
