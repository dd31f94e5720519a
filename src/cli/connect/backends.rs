//! Asks each backend for its health page.

use futures_util::future::join_all;

use crate::cli::connect::finding::{Finding, Kind};
use crate::cli::connect::report::Report;
use crate::processor::backend::client::Backend;
use crate::processor::backend::health;
use crate::processor::backend::tls::Connector;
use crate::settings::{HostHeader, Topic};

/// The body of a health answer does not matter, but must be read.
const MAX_BODY: usize = 1 << 20;

/// Asks the backends of all these topics at once, each backend once.
pub fn check(topics: &[Topic], report: &mut Report) {
    let mut asked: Vec<&Topic> = Vec::new();
    for topic in topics {
        let same = |other: &&Topic| {
            (&other.backend_url, &other.tls, &other.health_path) == (&topic.backend_url, &topic.tls, &topic.health_path)
        };
        if !asked.iter().any(same) {
            asked.push(topic);
        }
    }
    let found = actix::System::new().block_on(join_all(asked.iter().map(|topic| ask(topic))));
    for (topic, finding) in asked.iter().zip(found) {
        report.add(&subject(topic), finding);
    }
}

/// How the report names a topic's backend.
pub fn subject(topic: &Topic) -> String {
    format!("backend {}", topic.backend_url)
}

async fn ask(topic: &Topic) -> Option<Finding> {
    let subject = &subject(topic);
    let stops = |why: String| {
        let cure = "check backend_url, and that it runs";
        Some(Finding::stops(Kind::Backend, subject, why, cure))
    };
    let backend = Connector::new(&topic.tls)
        .and_then(|connector| Backend::new(&connector, &topic.backend_url, HostHeader::Backend, 1, MAX_BODY));
    let backend = match backend {
        Ok(backend) => backend,
        Err(why) => return stops(why),
    };
    match health::ask(&backend, &topic.health_path).await {
        (true, _) => None,
        (false, Ok(answer)) => Some(Finding::warns(
            Kind::Backend,
            subject,
            format!("it answers {} with {}", topic.health_path, answer.status),
            "look at the backend",
        )),
        (false, Err(error)) => stops(error.to_string()),
    }
}
