//! Remembers what the console shows, on a thread of its own: it reads the metrics once a second, takes in the requests that ended, and
//! tells whoever listens. It owns all of it, so nothing is locked.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select_biased, tick};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::console::bounds::{Bound, bounds};
use crate::console::history::{History, Point, Span};
use crate::console::live::Live;
use crate::console::recorder::{ENDED, Inbox};
use crate::console::requests::{Remembered, Requests, Ring};
use crate::console::sample::{Counts, Reading};
use crate::console::shown::Line;
use crate::console::state::{Evidence, State};
use crate::exchange::{Exchange, Role};
use crate::management::board::Board;
use crate::process::events;
use crate::settings::Mode;
use crate::wire::now_ms;

/// Questions that wait.
const QUESTIONS: usize = 64;
/// Between two turns, in which ended requests are taken in and told.
const TURN: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
/// Seconds that a topic's rate is taken over.
const RATE_OVER: usize = 10;
/// Requests that are told in one turn: nobody can read more.
const TOLD: usize = 20;

/// What the API asks.
enum Question {
    Now(oneshot::Sender<Now>),
    History(oneshot::Sender<Vec<Point>>),
    Topics(oneshot::Sender<Topics>),
    Requests(Role, Ring, oneshot::Sender<Vec<Remembered>>),
    Find(String, oneshot::Sender<Vec<Remembered>>),
}

/// How the process is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Now {
    pub state: State,
    /// The last second.
    pub point: Point,
    /// The last minute, as one.
    pub minute: Point,
    #[serde(default)]
    pub bounds: Vec<Bound>,
}

/// Each topic's counts of the last seconds, by its label in the metrics.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    pub proxy: BTreeMap<String, Point>,
    pub processor: BTreeMap<String, Point>,
}

/// Asks the thread. Its end is the thread's.
pub struct Keeper(Sender<Question>);

impl Keeper {
    /// Starts the thread. It ends when this is dropped, or the board.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(inbox: Inbox, board: &Arc<Board>, mode: Mode, live: Live) -> io::Result<Self> {
        let (sender, questions) = bounded(QUESTIONS);
        let board = Arc::downgrade(board);
        let work = move || {
            if let Some(mut memory) = Memory::new(board, mode, live) {
                memory.run(&inbox.ended, &questions);
            }
        };
        std::thread::Builder::new().name("khp-console".into()).spawn(work)?;
        Ok(Keeper(sender))
    }

    /// How the process is now; `None`: the thread is too busy, or gone.
    pub async fn now(&self) -> Option<Now> {
        self.ask(Question::Now).await
    }

    /// The last 15 minutes.
    pub async fn history(&self) -> Option<Vec<Point>> {
        self.ask(Question::History).await
    }

    /// What its topics do.
    pub async fn topics(&self) -> Option<Topics> {
        self.ask(Question::Topics).await
    }

    /// The requests of a ring.
    pub async fn requests(&self, role: Role, ring: Ring) -> Option<Vec<Remembered>> {
        self.ask(|answer| Question::Requests(role, ring, answer)).await
    }

    /// The requests with this id.
    pub async fn find(&self, id: String) -> Option<Vec<Remembered>> {
        self.ask(|answer| Question::Find(id, answer)).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.0.try_send(question(sender)).ok()?;
        answer.await.ok()
    }
}

/// What the thread owns.
struct Memory {
    board: Weak<Board>,
    mode: Mode,
    live: Live,
    requests: Requests,
    history: History,
    /// The last readings, the newest last; never empty.
    readings: VecDeque<Reading>,
    /// Failed requests of this second, by code.
    codes: BTreeMap<String, u64>,
    /// What was told last.
    told_request: u64,
    told_change: u64,
}

impl Memory {
    fn new(board: Weak<Board>, mode: Mode, live: Live) -> Option<Self> {
        let reading = Reading::of(&board.upgrade()?.shown());
        Some(Memory {
            board,
            mode,
            live,
            requests: Requests::default(),
            history: History::default(),
            readings: VecDeque::from([reading]),
            codes: BTreeMap::new(),
            told_request: 0,
            told_change: events::after(0).last().map_or(0, |change| change.number),
        })
    }

    fn run(&mut self, ended: &Receiver<Arc<Exchange>>, questions: &Receiver<Question>) {
        let (turns, seconds) = (tick(TURN), tick(SECOND));
        loop {
            // Ended requests are taken in at each turn, and not waited for: to wake this thread for each would cost more than the rest.
            select_biased! {
                recv(questions) -> question => match question {
                    Ok(question) => {
                        self.take_in(ended);
                        self.answer(question);
                    }
                    Err(_) => return,
                },
                recv(seconds) -> _ => {
                    self.take_in(ended);
                    if self.second().is_none() {
                        return;
                    }
                }
                recv(turns) -> _ => {
                    self.take_in(ended);
                    self.tell();
                }
            }
        }
    }

    fn take_in(&mut self, ended: &Receiver<Arc<Exchange>>) {
        // What ends meanwhile is for the next turn.
        for exchange in ended.try_iter().take(ENDED) {
            if exchange.ending.is_failure() && self.is_counted(exchange.role) {
                let status = exchange.ending.status.map(|status| status.to_string());
                let code = exchange.ending.code.map(str::to_owned).or(status);
                *self.codes.entry(code.unwrap_or_default()).or_default() += 1;
            }
            self.requests.push(exchange);
        }
    }

    /// A process of both roles sees each request twice, and counts it as the proxy sees it.
    fn is_counted(&self, role: Role) -> bool {
        role == Role::Proxy || !self.mode.is_proxy()
    }

    /// A second has passed. `None`: the process ends.
    fn second(&mut self) -> Option<()> {
        let board = self.board.upgrade()?;
        let reading = Reading::of(&board.shown());
        let before = self.readings.back()?;
        let (proxy, processor) = (
            reading.proxy.since(&before.proxy),
            reading.processor.since(&before.processor),
        );
        let counts = match self.mode.is_proxy() {
            true => with_phases_of(proxy, &processor),
            false => processor,
        };
        self.history.push(Span {
            at: now_ms() as u64 / 1000,
            seconds: 1,
            counts,
            codes: std::mem::take(&mut self.codes),
            in_flight: self.in_flight(&reading),
        });
        self.readings.push_back(reading);
        self.requests.forget_old(Instant::now());
        if self.readings.len() > RATE_OVER + 1 {
            self.readings.pop_front();
        }
        if self.live.is_heard() {
            self.live.tell("now", &self.now(&board)?);
        }
        Some(())
    }

    fn in_flight(&self, reading: &Reading) -> u64 {
        let gauge = match self.mode.is_proxy() {
            true => crate::metrics::name::PROXY_PENDING,
            false => crate::metrics::name::PROCESSOR_IN_FLIGHT,
        };
        reading.gauge(gauge).max(0.0) as u64
    }

    /// Tells whoever listens what has happened since the last turn.
    fn tell(&mut self) {
        let (count, changes) = (self.requests.count(), events::after(self.told_change));
        if let Some(last) = changes.last() {
            self.told_change = last.number;
        }
        let since = std::mem::replace(&mut self.told_request, count);
        if !self.live.is_heard() {
            return;
        }
        if count > since {
            let requests = self.requests.after(since, TOLD);
            self.live
                .tell("requests", &requests.iter().map(Line::of).collect::<Vec<_>>());
        }
        changes.iter().for_each(|change| self.live.tell("event", &**change));
    }

    fn answer(&mut self, question: Question) {
        // Err of the sends: whoever asked has gone.
        match question {
            Question::Now(answer) => {
                if let Some(now) = self.board.upgrade().and_then(|board| self.now(&board)) {
                    let _ = answer.send(now);
                }
            }
            Question::History(answer) => drop(answer.send(self.history.points())),
            Question::Topics(answer) => drop(answer.send(self.topics())),
            Question::Requests(role, ring, answer) => drop(answer.send(self.requests.of(role, ring))),
            Question::Find(id, answer) => drop(answer.send(self.requests.find(&id))),
        }
    }

    fn now(&self, board: &Board) -> Option<Now> {
        let reading = self.readings.back()?;
        let (point, minute) = (self.history.last(1).point(), self.history.last(60).point());
        let settings = board.configuration.settings();
        let bounds = bounds(board, &settings, reading);
        let evidence = Evidence {
            board,
            settings: &settings,
            reading,
            minute: &minute,
            bounds: &bounds,
        };
        Some(Now {
            state: State::of(&evidence),
            point,
            minute,
            bounds,
        })
    }

    fn topics(&self) -> Topics {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else {
            return Topics::default();
        };
        let seconds = self.readings.len().saturating_sub(1) as u32;
        let points = |then: &BTreeMap<String, Counts>, now: &BTreeMap<String, Counts>| {
            let none = Counts::default();
            // A topic that is only named, as one that replies come back on, has nothing to show.
            let busy = now.iter().filter(|(_, counts)| counts.requests > 0);
            let of_topic = busy.map(|(topic, counts)| {
                let span = Span {
                    at: 0,
                    seconds,
                    counts: counts.since(then.get(topic).unwrap_or(&none)),
                    ..Span::default()
                };
                (topic.clone(), span.point())
            });
            of_topic.collect()
        };
        Topics {
            proxy: points(&first.proxy_topics, &last.proxy_topics),
            processor: points(&first.processor_topics, &last.processor_topics),
        }
    }
}

/// What a proxy waits for is what a processor of the same process does: its phases say where that time goes.
fn with_phases_of(mut proxy: Counts, processor: &Counts) -> Counts {
    let named = |phase: &String| match phase.as_str() {
        // Both roles have one of this name.
        "reply" => "back".to_owned(),
        _ => phase.clone(),
    };
    let inside: f64 = processor.phases.values().sum();
    if inside > 0.0 {
        if let Some(reply) = proxy.phases.get_mut("reply") {
            *reply = (*reply - inside).max(0.0);
        }
        let of_processor = processor.phases.iter().map(|(phase, seconds)| (named(phase), *seconds));
        proxy.phases.extend(of_processor);
    }
    proxy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_one_process_the_wait_for_a_reply_is_what_the_processor_does() {
        let of = |phases: &[(&str, f64)]| Counts {
            phases: phases
                .iter()
                .map(|(phase, seconds)| (phase.to_string(), *seconds))
                .collect(),
            ..Counts::default()
        };
        let proxy = of(&[("admission", 1.0), ("reply", 10.0)]);
        let all = with_phases_of(proxy.clone(), &of(&[("backend", 6.0), ("reply", 1.0)]));
        assert_eq!(
            all,
            of(&[("admission", 1.0), ("reply", 3.0), ("backend", 6.0), ("back", 1.0)])
        );
        assert_eq!(with_phases_of(proxy.clone(), &of(&[])), proxy);
    }
}
