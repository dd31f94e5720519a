//! Dead letters: `GET /api/dead-letters`, one of them, and redrives.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::console::Console;
use crate::console::answer::{Problem, read_json};
use crate::console::redrives::{NotBegun, Order};
use crate::dlq::error::DlqError;
use crate::dlq::letter::Place;
use crate::dlq::list::{self, Found, Row};
use crate::dlq::options::{List, Show};
use crate::dlq::show;
use crate::management::access::peer;
use crate::management::board::Board;
use crate::management::guard;

/// Letters that are listed, unless more are asked for.
const LISTED: usize = 100;
/// Letters that are listed at most.
const MOST: usize = 1000;

/// What is asked of the list.
#[derive(Debug)]
struct Wanted {
    filters: Vec<String>,
    all: bool,
    max: usize,
}

impl Wanted {
    /// Reads the query: `filter` any number of times, `all`, `max`.
    fn of(query: &str) -> Result<Self, Problem> {
        let mut wanted = Wanted {
            filters: Vec::new(),
            all: false,
            max: LISTED,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                ("filter", "") => {}
                ("filter", filter) => wanted.filters.push(filter.to_owned()),
                ("all", all) => wanted.all = all != "false",
                ("max", max) => {
                    let max = max.parse().map_err(|_| Problem::bad("max is a number"))?;
                    wanted.max = usize::min(max, MOST);
                }
                (name, _) => return Err(Problem::bad(format!("there is no parameter {name:?}"))),
            }
        }
        Ok(wanted)
    }
}

/// `GET /api/dead-letters`.
pub async fn list(request: HttpRequest, console: web::Data<Console>) -> HttpResponse {
    let asked = Wanted::of(request.query_string()).and_then(|wanted| {
        let filters = wanted.filters.iter().map(|filter| filter.parse());
        Ok(List {
            filter: filters.collect::<Result<_, String>>().map_err(Problem::bad)?,
            max: wanted.max,
            all: wanted.all,
        })
    });
    let asked = match asked {
        Ok(asked) => asked,
        Err(problem) => return problem.response(),
    };
    let find = move |console: &Console| {
        let mut rows: Vec<Row> = Vec::new();
        let found = list::find(&console.settings(), &asked, |letter| {
            rows.push(letter.into());
            Ok(())
        })?;
        Ok(match found {
            Found::NoTopic => {
                json!({"topic": console.settings().processor.dead_letter_topic, "exists": false, "letters": [], "more": false})
            }
            Found::Letters { topic, more } => json!({"topic": topic, "exists": true, "letters": rows, "more": more}),
        })
    };
    match read(&console, find).await {
        Ok(document) => HttpResponse::Ok().json(document),
        Err(problem) => problem.response(),
    }
}

/// `GET /api/dead-letters/{place}`.
pub async fn open(place: web::Path<String>, console: web::Data<Console>) -> HttpResponse {
    let place: Place = match place.parse() {
        Ok(place) => place,
        Err(form) => return Problem::bad(format!("a letter is named as {form}")).response(),
    };
    let asked = Show {
        place,
        reveal: false,
        full: false,
    };
    match read(&console, move |console| show::find(&console.settings(), &asked)).await {
        Ok(Some(shown)) => HttpResponse::Ok().json(shown),
        Ok(None) => Problem::none(format!("there is no letter at {place}")).response(),
        Err(problem) => problem.response(),
    }
}

/// `GET /api/redrive`: the one that runs, or ran last.
pub async fn progress(console: web::Data<Console>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"redrive": console.redrives.last().as_deref()}))
}

/// `POST /api/redrive`.
pub async fn redrive(
    request: HttpRequest,
    payload: web::Payload,
    board: web::Data<Board>,
    console: web::Data<Console>,
) -> HttpResponse {
    let order: Order = match read_json(&request, payload, &board.access).await {
        Ok(order) => order,
        Err(refused) => return refused,
    };
    if !console.has_dead_letters() {
        return Problem::no_dead_letters().response();
    }
    let asked = match order.parse() {
        Ok(asked) => asked,
        Err(problem) => return Problem::bad(problem).response(),
    };
    let user_agent = guard::user_agent(&request);
    // Which fields, and no values: those are of requests.
    let filter: Vec<_> = asked.filter.iter().map(ToString::to_string).collect();
    tracing::info!(event = "redrive", dry_run = order.dry_run, ?filter, from = %peer(&request), user_agent, "redrive ordered by an operator");
    match console.redrives.begin(console.settings(), order, asked) {
        Ok(begun) => HttpResponse::Accepted().json(json!({"redrive": *begun})),
        Err(busy @ NotBegun::Busy) => Problem::conflict(busy.to_string()).response(),
        Err(error) => Problem::failed(error.to_string()).response(),
    }
}

/// `POST /api/redrive/stop`.
pub async fn stop(request: HttpRequest, board: web::Data<Board>, console: web::Data<Console>) -> HttpResponse {
    if let Err(refused) = guard::change(&request, &board.access).await {
        return refused;
    }
    console.redrives.stop();
    HttpResponse::Ok().json(json!({"redrive": console.redrives.last().as_deref()}))
}

/// Reads the topic on a thread of its own: it takes as long as the topic is long.
async fn read<T: Send + 'static>(
    console: &web::Data<Console>,
    work: impl FnOnce(&Console) -> Result<T, DlqError> + Send + 'static,
) -> Result<T, Problem> {
    if !console.has_dead_letters() {
        return Err(Problem::no_dead_letters());
    }
    let busy = || Problem::busy("others read the dead letters now; try again in a moment");
    let place = console.readers.place().ok_or_else(busy)?;
    let console = console.clone();
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&console);
        drop(place);
        done
    });
    match done.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Problem::failed(error.to_string())),
        Err(error) => Err(Problem::failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_says_which_letters() {
        let wanted = Wanted::of("filter=error%3Dbackend-timeout&filter=path~%2Fa*&filter=&all=true&max=5").unwrap();
        assert_eq!(wanted.filters, ["error=backend-timeout", "path~/a*"]);
        assert_eq!((wanted.all, wanted.max), (true, 5));
        assert_eq!(Wanted::of("max=99999").unwrap().max, MOST);
        for wrong in ["max=x", "colour=red"] {
            assert!(Wanted::of(wrong).is_err(), "{wrong}");
        }
    }
}
