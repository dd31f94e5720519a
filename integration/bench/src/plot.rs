//! The figures as a picture: requests per second over connections, both on logarithmic axes.

use std::fmt::Write;

use crate::figures::Run;
use crate::options::System;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const MARGIN: f64 = 70.0;

/// A line of the plot: its name, its colour and its points (connections, requests per second).
type Series = (&'static str, &'static str, Vec<(f64, f64)>);

/// Draws an SVG document of the rows with the first number of proxies.
pub fn svg(run: &Run) -> String {
    let first = run.options.proxies.first().copied().unwrap_or(1);
    let rows = || {
        run.rows
            .iter()
            .filter(move |row| row.proxies == first && row.rate.is_none())
    };
    let system = |system| {
        let of_system = rows().filter(move |row| row.system == system);
        of_system.map(|row| (row.connections as f64, row.per_second)).collect()
    };
    let limit = rows().filter_map(|row| Some((row.connections as f64, row.limit.as_ref()?.per_second)));
    let series: [Series; 4] = [
        ("raw: librdkafka ping-pong", "#888888", system(System::Raw)),
        ("hop: actix-web → awc", "#4477aa", system(System::Hop)),
        ("limit: 1/(1/raw + 1/hop)", "#cc3311", limit.collect()),
        ("actix-khp", "#228833", system(System::Khp)),
    ];
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = draw(&mut out, &series);
    out
}

fn draw(out: &mut String, series: &[Series]) -> std::fmt::Result {
    let points = || series.iter().flat_map(|(_, _, points)| points.iter().copied());
    let x = Axis::over(points().map(|(x, _)| x), 2.0, MARGIN, WIDTH - 20.0);
    let y = Axis::over(points().map(|(_, y)| y), 10.0, HEIGHT - MARGIN, 20.0);
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">"#
    )?;
    writeln!(out, r#"<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>"#)?;
    for tick in y.ticks() {
        let at = y.place(tick);
        writeln!(
            out,
            r##"<path d="M{MARGIN} {at:.1}H{}" stroke="#dddddd"/>"##,
            WIDTH - 20.0
        )?;
        writeln!(
            out,
            r#"<text x="{}" y="{:.1}" text-anchor="end">{tick}</text>"#,
            MARGIN - 6.0,
            at + 4.0
        )?;
    }
    for tick in x.ticks() {
        let at = x.place(tick);
        writeln!(
            out,
            r#"<text x="{at:.1}" y="{}" text-anchor="middle">{tick}</text>"#,
            HEIGHT - MARGIN + 18.0
        )?;
    }
    writeln!(
        out,
        r#"<text x="{}" y="{}" text-anchor="middle">connections</text>"#,
        WIDTH / 2.0,
        HEIGHT - MARGIN + 38.0
    )?;
    writeln!(
        out,
        r#"<text x="{MARGIN}" y="14" text-anchor="middle">requests/s</text>"#
    )?;
    for (index, (name, colour, points)) in series.iter().enumerate() {
        let path: Vec<String> = points
            .iter()
            .map(|(connections, rate)| format!("{:.1},{:.1}", x.place(*connections), y.place(*rate)))
            .collect();
        writeln!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            path.join(" ")
        )?;
        let (left, top) = (MARGIN + 170.0 * index as f64, HEIGHT - 10.0);
        writeln!(out, r#"<text x="{left}" y="{top}" fill="{colour}">{name}</text>"#)?;
    }
    writeln!(out, "</svg>")
}

/// A logarithmic axis from one whole power of its base to another.
struct Axis {
    base: f64,
    low: i32,
    high: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, base: f64, from: f64, to: f64) -> Self {
        let (low, high) = values.fold((f64::MAX, 1.0), |(low, high), value: f64| {
            (value.min(low), value.max(high))
        });
        let low = low.min(high).max(1.0).log(base).floor() as i32;
        Axis {
            base,
            low,
            high: (high.log(base).ceil() as i32).max(low + 1),
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let part =
            (value.max(f64::MIN_POSITIVE).log(self.base) - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + (self.to - self.from) * part
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|power| self.base.powi(power))
    }
}
