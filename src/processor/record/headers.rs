//! Which header fields an operator adds to a topic's requests, and keeps out of its answers.

use globset::GlobSet;

use crate::kafka::topic_name::globs;
use crate::settings::Topic;
use crate::wire::headers::passes_for;
use crate::wire::{Fields, Request};

/// The rules of one topic.
pub struct HeaderRules {
    /// Backends get these, in the place of a client's own of the same name, however it is written.
    set: Fields,
    /// Names that no answer takes into Kafka.
    withheld: GlobSet,
}

impl HeaderRules {
    pub fn new(topic: &Topic) -> Self {
        let field = |(name, value): (&String, &crate::settings::Secret)| {
            (name.clone().into(), value.reveal().to_owned().into())
        };
        HeaderRules {
            set: topic.set_headers.iter().map(field).collect(),
            withheld: globs(&topic.withhold_headers),
        }
    }

    /// Adds what the backend is to get. The record, and with it the dead letter, stays as it is.
    pub fn set(&self, request: &mut Request) {
        if self.set.is_empty() {
            return;
        }
        let is_set = |name: &str| self.set.iter().any(|(own, _)| passes_for(name.as_bytes(), own));
        request.headers.retain(|(name, _)| !is_set(name));
        request.headers.extend(self.set.iter().cloned());
    }

    /// Takes out of an answer what must not go into Kafka.
    pub fn withhold(&self, answer: &mut Fields) {
        if !self.withheld.is_empty() {
            answer.retain(|(name, _)| !self.withheld.is_match(&**name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Secret, plain_topic};

    #[test]
    fn fields_are_replaced_and_withheld_by_name() {
        let mut topic = plain_topic("orders", "orders-responses", "http://a", 1);
        topic.set_headers = [("x-internal-user".to_owned(), Secret::new("ours".to_owned()))].into();
        topic.withhold_headers = vec!["set-*".into()];
        let rules = HeaderRules::new(&topic);
        let fields = |names: &[&'static str]| {
            names
                .iter()
                .map(|name| ((*name).into(), "x".into()))
                .collect::<Fields>()
        };
        let mut request = Request {
            headers: fields(&["x-internal-user", "accept", "x_internal-user"]),
            ..Request::default()
        };
        rules.set(&mut request);
        assert_eq!(
            request.headers,
            [("accept".into(), "x".into()), ("x-internal-user".into(), "ours".into())]
        );
        let mut answer = fields(&["set-cookie", "etag", "x-set-a"]);
        rules.withhold(&mut answer);
        assert_eq!(answer, fields(&["etag", "x-set-a"]));
    }
}
