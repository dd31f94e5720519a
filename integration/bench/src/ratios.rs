//! actix-khp beside each other system of the run, round by round.

use crate::figures::{Point, Ratio, cpu};
use crate::medians::median;
use crate::options::System;

/// One for every other system under every load, in the order in which they were first measured. Empty where actix-khp is not measured.
pub fn ratios(points: &[Point]) -> Vec<Ratio> {
    let load = |point: &Point| (point.proxies, point.connections, point.rate);
    let mut others: Vec<&Point> = Vec::new();
    for point in points.iter().filter(|point| point.system != System::Khp) {
        let is_same = |other: &&Point| (load(other), other.system) == (load(point), point.system);
        if !others.iter().any(is_same) {
            others.push(point);
        }
    }
    let ratios = others.into_iter().map(|first| {
        let of_system = |system| {
            points
                .iter()
                .filter(move |point| point.system == system && load(point) == load(first))
        };
        let pairs: Vec<(&Point, &Point)> = of_system(System::Khp)
            .filter_map(|khp| Some((khp, of_system(first.system).find(|other| other.round == khp.round)?)))
            .collect();
        ratio(&pairs)
    });
    ratios.flatten().collect()
}

/// Of rounds of both; `None` where there is none.
fn ratio(pairs: &[(&Point, &Point)]) -> Option<Ratio> {
    let (_, other) = pairs.first()?;
    let each = |figure: &dyn Fn(&Point) -> f64| -> Vec<f64> {
        pairs.iter().map(|(khp, other)| figure(khp) / figure(other)).collect()
    };
    let figure = |figure: &dyn Fn(&Point) -> f64| median(each(figure));
    let of_role = |name: &str| {
        let of_point = |point: &Point| cpu(&point.used, name);
        (of_point(other) > 0.0).then(|| figure(&of_point))
    };
    let per_second = each(&|point| point.outcome.per_second());
    Some(Ratio {
        than: other.system,
        proxies: other.proxies,
        connections: other.connections,
        rate: other.rate,
        per_second_lowest: per_second.iter().copied().fold(f64::MAX, f64::min),
        per_second_highest: per_second.iter().copied().fold(0.0, f64::max),
        per_second: median(per_second),
        p50: figure(&|point| point.outcome.p50),
        p99: figure(&|point| point.outcome.p99),
        proxy_cpu: of_role("proxy"),
        processor_cpu: of_role("processor"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;
    use crate::process::Used;

    fn point(round: usize, system: System, requests: u64, cpu_us_per_request: f64) -> Point {
        Point {
            round,
            system,
            proxies: 1,
            connections: 64,
            rate: None,
            outcome: Outcome {
                seconds: 1.0,
                requests,
                errors: 0,
                mean: 1.0,
                p50: 1.0,
                p90: 1.0,
                p99: 1.0,
                p999: 1.0,
                max: 1.0,
            },
            used: vec![Used {
                name: "proxy 0".into(),
                cpu_us_per_request,
                rss_mib: 1.0,
                grown_mib: 0.0,
                received_bytes_per_request: 0.0,
                switches_per_request: 0.0,
                involuntary_per_request: 0.0,
            }],
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_those_of_the_rounds() {
        // The machine is half as fast in the second round: the medians of each alone, 200 and 100, would say as much by luck.
        let points = [
            point(1, System::Khp, 200, 10.0),
            point(1, System::MqBridge, 100, 20.0),
            point(2, System::Khp, 90, 10.0),
            point(2, System::MqBridge, 60, 20.0),
            point(3, System::Khp, 300, 10.0),
            point(3, System::MqBridge, 120, 20.0),
        ];
        let [ratio] = &ratios(&points)[..] else {
            panic!("one other system");
        };
        assert_eq!((ratio.than, ratio.connections), (System::MqBridge, 64));
        assert_eq!(
            (ratio.per_second_lowest, ratio.per_second, ratio.per_second_highest),
            (1.5, 2.0, 2.5)
        );
        assert_eq!((ratio.proxy_cpu, ratio.processor_cpu), (Some(0.5), None));
    }
}
