//! The trace that a request belongs to, as this instance takes part in it, and which traces are recorded.

use crate::wire::trace_parent::TraceParent;

/// A request's place in its trace. Everything is known as the request begins, so that whatever comes after it can be told of it; spans
/// are made of it once the request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// The trace, this instance's span in it (the server's at a proxy, the consumer's at a processor), and whether spans are recorded.
    /// Where traces are off, it is what came with the request.
    pub context: TraceParent,
    /// The span that this one is a child of; 0: none.
    pub parent: u64,
    /// The span of the record that this instance sends, which holds the request or the reply; 0: none is made, and the trace only passes.
    pub sent: u64,
    /// Where the request came from, if the sampler began a trace of its own.
    pub link: Option<TraceParent>,
    /// Who wrote the reply that came, at a proxy.
    pub replied: Option<TraceParent>,
}

impl Trace {
    /// Takes part in the trace that came with a request, or begins one.
    pub fn begin(sampler: Sampler, came: Option<TraceParent>) -> Self {
        let begun = came.map_or_else(new_trace, |parent| parent.trace);
        let sampled = sampler.records(came, begun);
        // Whoever began it records nothing of it, so that spans of it would hang in the air.
        let broken = came.filter(|parent| sampled && !parent.sampled);
        let joined = came.filter(|_| broken.is_none());
        Trace {
            context: TraceParent {
                trace: if broken.is_some() { new_trace() } else { begun },
                span: new_span(),
                sampled,
            },
            parent: joined.map_or(0, |parent| parent.span),
            sent: new_span(),
            link: broken,
            replied: None,
        }
    }

    /// Passes a trace on that came with a request, and adds nothing to it.
    pub fn passes(came: TraceParent) -> Self {
        Trace {
            context: came,
            parent: 0,
            sent: 0,
            link: None,
            replied: None,
        }
    }

    /// What the record is told that this instance sends. `None`: nothing but what came.
    pub fn of_sent(&self) -> Option<TraceParent> {
        (self.sent != 0).then(|| self.context.with_span(self.sent))
    }

    /// A call of the backend, with a span of its own. `None`: as before.
    pub fn of_call(&self) -> Option<TraceParent> {
        (self.sent != 0).then(|| self.context.with_span(new_span()))
    }

    /// Spans are made of it.
    pub fn is_recorded(&self) -> bool {
        self.sent != 0 && self.context.sampled
    }
}

/// Which traces are recorded: what `OTEL_TRACES_SAMPLER` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    /// Whoever began the trace decides, where somebody did.
    follows_parent: bool,
    /// Those are recorded whose last 63 bits are below.
    below: u64,
}

impl Sampler {
    /// Records this share of the traces, from 0 to 1. As OpenTelemetry's samplers decide: all that see a trace decide alike.
    pub fn new(follows_parent: bool, share: f64) -> Self {
        Sampler {
            follows_parent,
            below: (share.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64,
        }
    }

    fn records(&self, came: Option<TraceParent>, trace: u128) -> bool {
        match came {
            Some(parent) if self.follows_parent => parent.sampled,
            _ => (trace as u64) >> 1 < self.below,
        }
    }
}

fn new_trace() -> u128 {
    // Zero is no trace.
    rand::random::<u128>().max(1)
}

/// A span that nobody knows yet.
pub fn new_span() -> u64 {
    rand::random::<u64>().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(sampled: bool) -> TraceParent {
        TraceParent {
            trace: 7 << 70,
            span: 8,
            sampled,
        }
    }

    #[test]
    fn a_trace_goes_on_as_whoever_began_it_decided() {
        for sampled in [true, false] {
            let trace = Trace::begin(Sampler::new(true, 0.5), Some(came(sampled)));
            assert_eq!((trace.context.trace, trace.parent, trace.link), (7 << 70, 8, None));
            assert_eq!((trace.context.sampled, trace.is_recorded()), (sampled, sampled));
            let (sent, call) = (trace.of_sent().unwrap(), trace.of_call().unwrap());
            let spans = [8, trace.context.span, sent.span, call.span];
            assert!((1..4).all(|at| !spans[..at].contains(&spans[at])), "{spans:?}");
            assert_eq!((sent.trace, sent.sampled), (7 << 70, sampled));
        }
    }

    #[test]
    fn a_sampler_that_decides_alone_links_to_what_it_does_not_go_on_with() {
        let always = Sampler::new(false, 1.0);
        let broken = Trace::begin(always, Some(came(false)));
        assert!(broken.is_recorded() && broken.context.trace != 7 << 70);
        assert_eq!((broken.parent, broken.link), (0, Some(came(false))));
        assert_eq!(Trace::begin(always, Some(came(true))).parent, 8);
        let never = Trace::begin(Sampler::new(false, 0.0), Some(came(true)));
        assert!(!never.is_recorded() && never.context.trace == 7 << 70);
    }

    #[test]
    fn shares_are_of_traces() {
        let sampler = Sampler::new(true, 0.25);
        let begun = (0..10_000)
            .filter(|_| Trace::begin(sampler, None).is_recorded())
            .count();
        assert!((2_000..3_000).contains(&begun), "{begun}");
        assert!(Trace::begin(Sampler::new(true, 1.0), None).is_recorded());
        assert!(!Trace::begin(Sampler::new(true, 0.0), None).is_recorded());
    }

    #[test]
    fn a_trace_that_passes_is_not_touched() {
        let trace = Trace::passes(came(true));
        assert!(!trace.is_recorded() && trace.of_sent().is_none() && trace.of_call().is_none());
        assert_eq!(trace.context, came(true));
    }
}
