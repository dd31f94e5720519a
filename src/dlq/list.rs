//! `dlq list`: one line a letter.

use crate::dlq::error::DlqError;
use crate::dlq::filter::pass;
use crate::dlq::letter::Letter;
use crate::dlq::letters::{Letters, Next};
use crate::dlq::options::List;
use crate::dlq::printable::line;
use crate::process::output;
use crate::settings::Settings;
use crate::wire::headers;

/// Columns wide enough for the common case; what is longer moves the rest of its line.
const HEADER: &str = "LETTER     GIVEN UP              TRIES  ROUND       SIZE  ERROR                TOPIC  CAUSE";

pub fn run(settings: &Settings, list: &List) -> Result<(), DlqError> {
    let Some(letters) = Letters::open(settings)? else {
        output::complain("no dead letters: their topic does not exist yet");
        return Ok(());
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
        if shown == 0 {
            output::print(format_args!("{HEADER}\n"))?;
        }
        shown += 1;
        output::print(format_args!("{}\n", row(&letter)))?;
        Ok(Next::GoOn)
    })?;
    match (shown, more) {
        (0, _) => output::complain(format_args!("no letters on {} that pass", letters.topic())),
        (_, true) => output::complain(format_args!("there are more than {shown}; --max shows them")),
        (_, false) => {}
    }
    Ok(())
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
