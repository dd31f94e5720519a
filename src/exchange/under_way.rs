//! A record that is still written. However its request ends, it is told once: when this is dropped.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::exchange::metrics::TopicSeries;
use crate::exchange::phase::Phase;
use crate::exchange::record::Exchange;
use crate::exchange::role::Role;
use crate::exchange::sink::Exchanges;

/// A request under way, as this instance sees it. Until somebody says otherwise, it ends as one that nobody answered.
pub struct UnderWay {
    /// Taken when it ends. Until then it is nobody else's.
    exchange: Option<Arc<Exchange>>,
    exchanges: Exchanges,
    /// What its phases and sizes count for; `None`: it has no topic yet.
    series: Option<Arc<TopicSeries>>,
    /// When the last phase ended.
    mark: Instant,
}

impl UnderWay {
    /// A request begins now.
    pub fn begin(exchanges: &Exchanges, role: Role) -> Self {
        let exchange = Arc::new(Exchange::begin(role));
        UnderWay {
            mark: exchange.began,
            exchange: Some(exchange),
            exchanges: exchanges.clone(),
            series: None,
        }
    }

    /// Its topic is known: from now on it counts there.
    pub fn counts_for(&mut self, series: &Arc<TopicSeries>) {
        self.series = Some(series.clone());
    }

    /// A phase ends now, which began with the end of the one before.
    pub fn ends(&mut self, phase: Phase) {
        self.ends_at(phase, Instant::now());
    }

    /// A phase ended then.
    pub fn ends_at(&mut self, phase: Phase, end: Instant) {
        let took = end.saturating_duration_since(self.mark);
        self.phases.set(phase, took);
        self.mark = self.mark.max(end);
    }

    /// The attempts are over: what was not spent on them was waiting.
    pub fn attempts_ended(&mut self) {
        let now = Instant::now();
        let spent: Duration = self.attempts.iter().filter_map(|attempt| attempt.took).sum();
        let waited = now.saturating_duration_since(self.mark).saturating_sub(spent);
        self.phases.set(Phase::Permit, waited);
        if !self.attempts.is_empty() {
            self.phases.set(Phase::Backend, spent);
        }
        self.mark = now;
    }

    /// Notes method and target.
    pub fn asks(&mut self, method: &str, target: &str) {
        if self.exchanges.is_watched() {
            let shows_query = self.exchanges.shows_queries();
            self.deref_mut().asks(method, target, shows_query);
        }
    }

    /// Notes who has proven to be who.
    pub fn asked_by(&mut self, principal: Option<&str>) {
        if self.exchanges.is_watched() {
            self.deref_mut().asked_by(principal);
        }
    }

    /// Notes the `X-Request-ID`.
    pub fn called(&mut self, request_id: &[u8]) {
        if self.exchanges.is_watched() {
            self.deref_mut().called(request_id);
        }
    }

    /// Notes the key of its record, where traces are made, which alone show it.
    pub fn keyed(&mut self, key: Option<&[u8]>) {
        if self.exchanges.sampler().is_some() {
            self.deref_mut().keyed(key);
        }
    }
}

impl Deref for UnderWay {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        // It is taken on drop, and nobody sees it afterwards.
        self.exchange.as_deref().unwrap_or_else(|| unreachable!("it has ended"))
    }
}

impl DerefMut for UnderWay {
    fn deref_mut(&mut self) -> &mut Exchange {
        let exchange = self.exchange.as_mut().and_then(Arc::get_mut);
        exchange.unwrap_or_else(|| unreachable!("it has ended"))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.took = self.began.elapsed();
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        if let Some(series) = &self.series {
            series.observe(&exchange);
        }
        self.exchanges.ended(&exchange);
    }
}
