//! The page of /metrics, parsed.

/// The samples of one page of /metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Parses the text format. Fails the test at a line that it cannot parse.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines
            .map(|line| Sample::parse(line).unwrap_or_else(|| panic!("not a sample: {line:?}")))
            .collect();
        Metrics { samples }
    }

    /// The sum of the samples of this name that carry these labels; 0 where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples
            .iter()
            .filter(|sample| sample.name == name && sample.carries(labels))
            .map(|sample| sample.value)
            .sum()
    }

    /// How many samples of this name carry these labels.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        let found = self.samples.iter();
        found
            .filter(|sample| sample.name == name && sample.carries(labels))
            .count()
    }

    /// `sum` as a probe for `within`.
    pub fn expect_sum(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), String> {
        let sum = self.sum(name, labels);
        if sum == value {
            Ok(())
        } else {
            Err(format!("{sum}; {:?}", self.named(name)))
        }
    }

    /// Whether there is a sample of this name, or a histogram of this name.
    pub fn has(&self, name: &str) -> bool {
        let count = format!("{name}_count");
        self.samples
            .iter()
            .any(|sample| sample.name == name || sample.name == count)
    }

    /// Whether there is a sample of this name (or a histogram), and each carries exactly these labels. A histogram's
    /// own `le` does not count.
    pub fn has_labels(&self, name: &str, labels: &[&str]) -> bool {
        let (bucket, mut wanted) = (format!("{name}_bucket"), labels.to_vec());
        wanted.sort_unstable();
        let mut named = self
            .samples
            .iter()
            .filter(|sample| sample.name == name || sample.name == bucket)
            .peekable();
        named.peek().is_some()
            && named.all(|sample| {
                let mut given: Vec<&str> = sample.labels.iter().map(|(label, _)| label.as_str()).collect();
                given.retain(|label| *label != "le");
                given.sort_unstable();
                given == wanted
            })
    }

    fn named(&self, name: &str) -> Vec<String> {
        let named = self.samples.iter().filter(|sample| sample.name == name);
        named
            .map(|sample| format!("{:?} {}", sample.labels, sample.value))
            .collect()
    }
}

impl Sample {
    /// `name{label="value",…} 1.5`
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
            None => (series, Vec::new()),
        };
        Some(Sample {
            name: name.into(),
            labels,
            value: value.parse().ok()?,
        })
    }

    fn carries(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.labels.iter().any(|(n, v)| n == name && v == value))
    }
}

fn labels(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((name.trim_start_matches(',').to_owned(), value));
        text = &rest[end + 1..];
    }
    Some(labels)
}
