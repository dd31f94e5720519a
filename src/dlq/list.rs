//! `dlq list`: one line a letter.

use serde::Serialize;

use crate::dlq::error::DlqError;
use crate::dlq::filter::pass;
use crate::dlq::letter::Letter;
use crate::dlq::letters::{Letters, Next};
use crate::dlq::options::List;
use crate::dlq::printable::line;
use crate::process::output;
use crate::settings::Settings;
use crate::wire::correlation::id_text;
use crate::wire::headers;

/// Columns wide enough for the common case; what is longer moves the rest of its line.
const HEADER: &str = "LETTER     GIVEN UP              TRIES  ROUND       SIZE  ERROR                TOPIC  CAUSE";

pub fn run(settings: &Settings, list: &List) -> Result<(), DlqError> {
    let mut shown = 0;
    let found = find(settings, list, |letter| {
        if shown == 0 {
            output::print(format_args!("{HEADER}\n"))?;
        }
        shown += 1;
        output::print(format_args!("{}\n", row(&letter)))?;
        Ok(())
    })?;
    match found {
        Found::NoTopic => output::complain("no dead letters: their topic does not exist yet"),
        Found::Letters { topic, .. } if shown == 0 => {
            output::complain(format_args!("no letters on {topic} that pass"));
        }
        Found::Letters { more: true, .. } => {
            output::complain(format_args!("there are more than {shown}; --max shows them"));
        }
        Found::Letters { more: false, .. } => {}
    }
    Ok(())
}

/// What a search came upon, besides the letters it showed.
pub enum Found {
    /// The topic does not exist: nothing was ever given up.
    NoTopic,
    Letters {
        topic: String,
        /// There are letters beyond `max`.
        more: bool,
    },
}

/// Shows each letter that `list` asks for.
///
/// # Errors
/// Kafka does not answer or refuses, and `show`'s own.
pub fn find(
    settings: &Settings,
    list: &List,
    mut show: impl FnMut(Letter) -> Result<(), DlqError>,
) -> Result<Found, DlqError> {
    let Some(letters) = Letters::open(settings)? else {
        return Ok(Found::NoTopic);
    };
    let survey = letters.survey()?;
    let (mut shown, mut more) = (0, false);
    letters.each(&survey, |letter| {
        if (letter.redriven && !list.all) || !pass(&list.filter, &letter) {
            return Ok(Next::GoOn);
        }
        if shown == list.max {
            more = true;
            return Ok(Next::Enough);
        }
        shown += 1;
        show(letter)?;
        Ok(Next::GoOn)
    })?;
    let topic = letters.topic().to_owned();
    Ok(Found::Letters { topic, more })
}

/// One letter of the list, as a value: what the console shows of it.
#[derive(Debug, Serialize)]
pub struct Row {
    /// `PARTITION:OFFSET`.
    place: String,
    /// When it was given up, in ms since 1970.
    given_up: Option<i64>,
    attempts: Option<String>,
    /// How often it was redriven.
    rounds: u32,
    /// In bytes.
    size: usize,
    error: Option<String>,
    topic: Option<String>,
    cause: Option<String>,
    redriven: bool,
    correlation_id: Option<String>,
    method: Option<String>,
    /// Without its query.
    path: Option<String>,
}

impl From<Letter> for Row {
    fn from(letter: Letter) -> Self {
        let text = |name| letter.text(name).map(|text| line(&text));
        let request = letter.request();
        let request = request.as_ref();
        let path = |path: &str| line(path.split('?').next().unwrap_or_default());
        Row {
            place: letter.place().to_string(),
            given_up: letter.record.timestamp,
            attempts: text(headers::KHP_ATTEMPTS),
            rounds: letter.rounds(),
            size: letter.size(),
            error: text(headers::KHP_ERROR),
            topic: text(headers::DLT_ORIGINAL_TOPIC),
            cause: text(headers::DLT_EXCEPTION_MESSAGE),
            redriven: letter.redriven,
            correlation_id: request.map(|request| line(&id_text(&request.correlation_id))),
            method: request.map(|request| line(&request.method)),
            path: request.map(|request| path(&request.path)),
        }
    }
}

fn row(letter: &Letter) -> String {
    let text = |name| letter.text(name).map_or_else(|| "-".into(), |text| line(&text));
    format!(
        "{:<9}  {:<20}  {:>5}  {:>5}  {:>9}  {:<19}  {}  {}{}",
        letter.place(),
        letter.time(),
        text(headers::KHP_ATTEMPTS),
        letter.rounds(),
        letter.size(),
        text(headers::KHP_ERROR),
        text(headers::DLT_ORIGINAL_TOPIC),
        if letter.redriven { "(redriven) " } else { "" },
        text(headers::DLT_EXCEPTION_MESSAGE),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::tests::record;

    #[test]
    fn a_row_tells_what_an_operator_asks_and_stays_one_row() {
        let letter = Letter {
            record: record(
                &[
                    ("kafka_dlt-original-topic", b"orders-requests"),
                    ("khp-error", b"backend-timeout"),
                    ("khp-attempts", b"4"),
                    ("kafka_dlt-exception-message", b"no answer\nin 30 s"),
                ],
                b"body",
            ),
            redriven: false,
            opened: None,
        };
        let row = row(&letter);
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words[..3], ["3:17", "2023-11-14T22:13:20Z", "4"]);
        assert_eq!(words[5..7], ["backend-timeout", "orders-requests"]);
        assert!(row.ends_with("no answer\\nin 30 s"), "{row}");
        let columns: Vec<usize> = ["GIVEN UP", "ERROR", "TOPIC"]
            .map(|name| HEADER.find(name).unwrap())
            .into();
        assert_eq!(
            columns,
            ["2023", "backend-timeout", "orders"].map(|value| row.find(value).unwrap())
        );
    }
}
