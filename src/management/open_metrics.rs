//! Metrics as OpenMetrics 1.0 writes them, with exemplars: `GET /metrics` for whoever accepts it.
//! <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use actix_web::HttpRequest;
use actix_web::http::header::{Accept, Header};
use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::exchange::exemplars::{Buckets, Exemplar, Exemplars, OfTopic};
use crate::metrics::name;

/// The type of such a page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether it is preferred to Prometheus' own text. Who accepts anything gets that one.
pub fn is_wanted(request: &HttpRequest) -> bool {
    let accepted = Accept::parse(request).map(|accept| accept.ranked());
    let mut known = accepted
        .into_iter()
        .flatten()
        .filter_map(|range| match range.essence_str() {
            "application/openmetrics-text" => Some(true),
            "text/plain" | "text/*" | "*/*" => Some(false),
            _ => None,
        });
    known.next().unwrap_or(false)
}

/// The exemplars of both roles; a role that this process does not have has none.
#[derive(Default)]
pub struct Known {
    pub proxy: Option<Exemplars>,
    pub processor: Option<Exemplars>,
}

impl Known {
    /// Those of a topic, and which of its phases it is.
    fn of<'a>(&self, family: &str, labels: &'a [LabelPair]) -> Option<(Arc<OfTopic>, &'a str)> {
        let role = match family {
            name::PROXY_PHASE => &self.proxy,
            name::PROCESSOR_PHASE => &self.processor,
            _ => return None,
        };
        let value = |name| labels.iter().find(|label| label.name() == name).map(LabelPair::value);
        Some((role.as_ref()?.get(value("topic")?)?, value("phase")?))
    }
}

/// The whole page.
///
/// # Errors
/// None: a text takes all.
pub fn page(families: &[MetricFamily], exemplars: &Known) -> Result<String, fmt::Error> {
    let mut text = String::new();
    for family in families {
        write_family(&mut text, family, exemplars)?;
    }
    text.push_str("# EOF\n");
    Ok(text)
}

fn write_family(text: &mut String, family: &MetricFamily, exemplars: &Known) -> fmt::Result {
    let (kind, name) = match family.get_field_type() {
        // Its samples end in `_total`, the family does not.
        MetricType::COUNTER => ("counter", family.name().trim_end_matches("_total")),
        MetricType::GAUGE => ("gauge", family.name()),
        MetricType::HISTOGRAM => ("histogram", family.name()),
        // None of ours.
        MetricType::SUMMARY | MetricType::UNTYPED => return Ok(()),
    };
    writeln!(text, "# TYPE {name} {kind}")?;
    writeln!(text, "# HELP {name} {}", escaped(family.help()))?;
    for metric in family.get_metric() {
        match family.get_field_type() {
            MetricType::COUNTER => write_sample(text, name, "_total", metric, metric.get_counter().get_value())?,
            MetricType::GAUGE => write_sample(text, name, "", metric, metric.get_gauge().get_value())?,
            _ => {
                let found = exemplars.of(family.name(), metric.get_label());
                let buckets = found.as_ref().and_then(|(topic, phase)| topic.get(phase));
                write_histogram(text, name, metric, metric.get_histogram(), buckets)?;
            }
        }
    }
    Ok(())
}

fn write_sample(text: &mut String, name: &str, suffix: &str, metric: &Metric, value: f64) -> fmt::Result {
    text.write_str(name)?;
    text.write_str(suffix)?;
    write_labels(text, metric, None)?;
    writeln!(text, " {}", Number(value))
}

fn write_histogram(
    text: &mut String,
    name: &str,
    metric: &Metric,
    histogram: &Histogram,
    exemplars: Option<&Buckets>,
) -> fmt::Result {
    let bounded = histogram.get_bucket().iter();
    let all = bounded
        .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
        .filter(|(bound, _)| bound.is_finite())
        .chain([(f64::INFINITY, histogram.get_sample_count())]);
    for (index, (bound, count)) in all.enumerate() {
        write!(text, "{name}_bucket")?;
        write_labels(text, metric, Some(bound))?;
        write!(text, " {count}")?;
        if let Some(exemplar) = exemplars.and_then(|buckets| buckets.get(index)) {
            write_exemplar(text, &exemplar)?;
        }
        text.push('\n');
    }
    write_sample(text, name, "_sum", metric, histogram.get_sample_sum())?;
    write!(text, "{name}_count")?;
    write_labels(text, metric, None)?;
    writeln!(text, " {}", histogram.get_sample_count())
}

fn write_exemplar(text: &mut String, Exemplar { trace, value, at }: &Exemplar) -> fmt::Result {
    let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    write!(
        text,
        " # {{trace_id=\"{trace:032x}\"}} {} {:.3}",
        Number(*value),
        at.as_secs_f64()
    )
}

fn write_labels(text: &mut String, metric: &Metric, le: Option<f64>) -> fmt::Result {
    let labels = metric.get_label();
    if labels.is_empty() && le.is_none() {
        return Ok(());
    }
    text.push('{');
    for (index, label) in labels.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(text, "{comma}{}=\"{}\"", label.name(), escaped(label.value()))?;
    }
    if let Some(bound) = le {
        let comma = if labels.is_empty() { "" } else { "," };
        write!(text, "{comma}le=\"{}\"", Number(bound))?;
    }
    text.push('}');
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('\n', r"\n").replace('"', r#"\""#)
}

/// A number with a point, as the specification prefers it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number if number == f64::INFINITY => f.write_str("+Inf"),
            number if number == f64::NEG_INFINITY => f.write_str("-Inf"),
            number if number.is_nan() => f.write_str("NaN"),
            number => write!(f, "{number:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::test::TestRequest;
    use prometheus::Registry;

    use super::*;
    use crate::exchange::metrics::ExchangeMetrics;
    use crate::exchange::{Exchange, Phase, Role, Trace};
    use crate::wire::trace_parent::TraceParent;

    #[test]
    fn it_is_given_to_whoever_prefers_it() {
        let wanted = |accept: &str| {
            let request = TestRequest::default().insert_header(("Accept", accept));
            is_wanted(&request.to_http_request())
        };
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert!(wanted(prometheus) && wanted("application/openmetrics-text"));
        for other in [
            "*/*",
            "text/plain",
            "text/plain, application/openmetrics-text;q=0.5",
            "text/html",
        ] {
            assert!(!wanted(other), "{other}");
        }
        assert!(!is_wanted(&TestRequest::default().to_http_request()));
    }

    #[test]
    fn a_page_is_as_the_specification_has_it() {
        let registry = Registry::new();
        let counter = prometheus::IntCounterVec::new(prometheus::Opts::new("a_total", "Of \"a\""), &["b"]).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.with_label_values(&["x\n\"y\\"]).inc_by(3);
        let metrics = ExchangeMetrics::register(&registry, Role::Proxy).unwrap();
        let mut exchange = Exchange::begin(Role::Proxy);
        exchange.at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        exchange.phases.set(Phase::Reply, Duration::from_millis(40));
        metrics.topic("orders").observe(&exchange);
        let context = TraceParent {
            trace: 0xabc,
            span: 1,
            sampled: true,
        };
        exchange.trace = Some(Trace::passes(context));
        metrics.topic("orders").observe(&exchange);
        let known = Known {
            proxy: Some(metrics.exemplars().clone()),
            processor: None,
        };
        let text = page(&registry.gather(), &known).unwrap();
        let begins = "# TYPE a counter\n# HELP a Of \\\"a\\\"\na_total{b=\"x\\n\\\"y\\\\\"} 3.0\n# TYPE proxy_phase_seconds histogram\n";
        assert!(text.starts_with(begins), "{text}");
        let bucket = r#"proxy_phase_seconds_bucket{phase="reply",topic="orders",le="0.05"} 2 # {trace_id="00000000000000000000000000000abc"} 0.04 1700000000.250"#;
        assert!(text.contains(bucket), "{text}");
        assert!(
            text.contains("phase=\"reply\",topic=\"orders\",le=\"+Inf\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("proxy_phase_seconds_sum{phase=\"reply\",topic=\"orders\"} 0.08\n"),
            "{text}"
        );
        assert!(
            text.ends_with("# EOF\n") && text.matches("trace_id").count() == 1,
            "{text}"
        );
    }
}
