//! One run of one scenario.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use actix_khp::proxy::metrics::ProxyMetrics;
use actix_khp::settings::Settings;
use prometheus::Registry;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::agenda::{Agenda, Event, Letter};
use super::group::Group;
use super::processor::Processor;
use super::proxy::{Proxy, settings};
use super::scale::Scale;
use super::script::*;
use super::tally::Tally;
use crate::error::Result;

/// Everything that is simulated.
pub struct Run<'o> {
    options: &'o Scale,
    scenario: Scenario,
    random: StdRng,
    agenda: Agenda,
    /// The runtime's clock at the beginning.
    began: Instant,
    now: Duration,
    /// When the next request arrives.
    arrival: Duration,
    proxies: Vec<Proxy>,
    /// Those that load balancers send requests to.
    ready: Vec<usize>,
    processors: Vec<Processor>,
    group: Group,
    /// Records of each partition that nobody has taken in.
    partitions: Vec<VecDeque<Letter>>,
    reply_partitions: i32,
    /// Until then the partitions of the first broker have no leader.
    without_leader: Duration,
    settings: Settings,
    metrics: ProxyMetrics,
    tally: Tally,
}

impl<'o> Run<'o> {
    /// Notes what is to happen.
    pub fn new(options: &'o Scale, scenario: Scenario) -> Result<Self> {
        let (partitions, reply_partitions) = (2 * options.processors, 2 * options.proxies);
        let mut run = Run {
            options,
            scenario,
            random: StdRng::seed_from_u64(options.seed),
            agenda: Agenda::default(),
            began: tokio::time::Instant::now().into_std(),
            now: Duration::ZERO,
            arrival: Duration::ZERO,
            proxies: Vec::new(),
            ready: (0..options.proxies).collect(),
            processors: (0..options.processors).map(|_| Processor::default()).collect(),
            group: Group::new(partitions, options.processors),
            partitions: vec![VecDeque::new(); partitions],
            reply_partitions: reply_partitions as i32,
            without_leader: Duration::ZERO,
            settings: settings()?,
            metrics: ProxyMetrics::register(&Registry::new())?,
            tally: Tally::new(reply_partitions)?,
        };
        for number in 0..options.proxies {
            let proxy = run.proxy(number)?;
            run.proxies.push(proxy);
        }
        run.agenda.note(Duration::ZERO, Event::Arrives);
        run.agenda.note(Duration::from_secs(1), Event::Tick);
        run.plan();
        Ok(run)
    }

    fn proxy(&mut self, number: usize) -> Result<Proxy> {
        let tag = self.random.random();
        let proxy = Proxy::new(number, tag, self.reply_partitions, &self.settings, &self.metrics);
        proxy.ok_or_else(|| "the settings name no topics".into())
    }

    fn plan(&mut self) {
        let mut last = QUIET;
        let batches = |all: usize| (0..all).map(|number| (QUIET + BETWEEN * (number / AT_ONCE) as u32, number));
        if self.scenario.restarts_processors() {
            for (at, number) in batches(self.options.processors) {
                self.agenda.note(at, Event::ProcessorStops(number));
                last = last.max(at);
            }
        }
        if self.scenario.restarts_proxies() {
            for (at, number) in batches(self.options.proxies) {
                self.agenda.note(at, Event::ProxyStops(number));
                last = last.max(at);
            }
        }
        if self.scenario == Scenario::Killed {
            for number in 0..AT_ONCE.min(self.options.processors) {
                self.agenda.note(QUIET, Event::ProcessorIsKilled(number));
            }
        }
        if self.scenario.loses_a_broker() {
            let at = QUIET + (last - QUIET) / 2;
            self.agenda.note(at, Event::BrokerIsLost);
        }
        self.tally.last_event = last;
        self.agenda.note(last + AFTER, Event::End);
    }

    /// Works off the events to the end.
    pub async fn finish(mut self) -> Result<Tally> {
        let began = tokio::time::Instant::from_std(self.began);
        while let Some((at, event)) = self.agenda.next() {
            if at > self.now {
                tokio::time::sleep_until(began + at).await;
                self.now = at;
            }
            if let Event::End = event {
                break;
            }
            self.happen(event)?;
        }
        // Whoever still waits gets an answer or none after the end, and is counted as neither.
        let waiting: usize = self.proxies.iter().map(Proxy::waiting).sum();
        self.tally.requests -= waiting as u64;
        Ok(self.tally)
    }

    fn happen(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Arrives => self.arrives(),
            Event::Requested(letter) => {
                self.partitions[letter.partition].push_back(letter);
                self.take_in(letter.partition);
            }
            Event::Called(processor, life, letter) => self.called(processor, life, letter),
            Event::Replied(letter) => self.replied(letter),
            Event::Tick => self.tick(),
            Event::ProcessorStops(number) => self.processor_stops(number),
            Event::ProcessorIsKilled(number) => {
                // It is missed only later, and nobody has its partitions until then.
                let given_up = self.processors[number].give_up();
                self.processors[number].stops = true;
                self.return_to_partitions(given_up);
                self.after(SESSION, Event::ProcessorStarts(number));
                self.group.leave(number);
                self.after(SESSION + REBALANCE, Event::Rebalanced);
            }
            Event::ProcessorStarts(number) => {
                self.processors[number] = Processor {
                    life: self.processors[number].life + 1,
                    ..Processor::default()
                };
                self.group.join(number);
                self.after(REBALANCE, Event::Rebalanced);
            }
            Event::Rebalanced => {
                for partition in self.group.settle() {
                    self.take_in(partition);
                }
            }
            Event::ProxyStops(number) => {
                let taken_out = self.between(TAKEN_OUT);
                self.after(taken_out, Event::ProxyIsTakenOut(number));
                self.after(PRE_STOP, Event::ProxyCloses(number));
            }
            Event::ProxyIsTakenOut(number) => self.ready.retain(|ready| *ready != number),
            Event::ProxyCloses(number) => {
                self.proxies[number].listens = false;
                self.proxies[number].drains = true;
                self.proxy_may_end(number);
            }
            Event::ProxyStarts(number) => {
                self.proxies[number] = self.proxy(number)?;
                self.ready.push(number);
            }
            Event::BrokerIsLost => {
                self.without_leader = self.now + ELECTION;
            }
            Event::End => {}
        }
        Ok(())
    }

    fn arrives(&mut self) {
        let gap = -self.random.random::<f64>().max(f64::MIN_POSITIVE).ln() / self.options.rate;
        // From its own moment, not from the timer's, which is rounded up: the rate would be lower.
        self.arrival += Duration::from_secs_f64(gap);
        self.agenda.note(self.arrival.max(self.now), Event::Arrives);
        self.tally.requests += 1;
        let Some(number) = (!self.ready.is_empty()).then(|| self.ready[self.random.random_range(0..self.ready.len())])
        else {
            self.tally.cut += 1;
            return self.tally.bad(self.now);
        };
        let (sent, timeout) = (self.began + self.now, Duration::from_secs(self.options.timeout));
        let proxy = &mut self.proxies[number];
        if !proxy.listens {
            self.tally.cut += 1;
            return self.tally.bad(self.now);
        }
        let Some(id) = proxy.admit(sent, timeout) else {
            self.tally.refused += 1;
            return self.tally.bad(self.now);
        };
        let letter = Letter {
            id,
            proxy: number,
            reply_partition: proxy.partition,
            partition: self.random.random_range(0..self.partitions.len()),
            deadline: self.now + timeout,
        };
        let at = self.carried(letter.partition);
        self.agenda.note(at, Event::Requested(letter));
    }

    /// Whoever owns a partition takes in what it has. A record whose deadline has passed is not worked on.
    fn take_in(&mut self, partition: usize) {
        let Some(owner) = self.group.owner(partition) else {
            return;
        };
        if self.processors[owner].stops {
            return;
        }
        let letters: Vec<Letter> = self.partitions[partition].drain(..).collect();
        let now = self.now;
        self.processors[owner]
            .queue
            .extend(letters.into_iter().filter(|letter| letter.deadline > now));
        self.call(owner);
    }

    fn call(&mut self, number: usize) {
        while self.processors[number].calls.len() < CALLS {
            let Some(letter) = self.processors[number].queue.pop_front() else {
                return;
            };
            let takes = Duration::from_millis(self.options.backend).mul_f64(0.5 + self.random.random::<f64>());
            let processor = &mut self.processors[number];
            processor.calls.push(letter);
            self.tally.called(letter.id);
            let event = Event::Called(number, processor.life, letter);
            self.agenda.note(self.now + takes, event);
        }
    }

    fn called(&mut self, number: usize, life: u64, letter: Letter) {
        let processor = &mut self.processors[number];
        if processor.life != life {
            return;
        }
        processor.calls.retain(|call| call.id != letter.id);
        let at = self.carried(letter.reply_partition as usize);
        self.agenda.note(at, Event::Replied(letter));
        self.call(number);
        self.processor_may_end(number);
    }

    fn replied(&mut self, letter: Letter) {
        self.tally.replies[letter.reply_partition as usize] += 1;
        let now = self.began + self.now;
        let proxy = &mut self.proxies[letter.proxy];
        // Err: nobody waits for it any more, or it was answered before.
        if let Ok(took) = proxy.reply(letter.id, letter.reply_partition, now) {
            self.tally.answered(self.now, took);
        }
        self.proxy_may_end(letter.proxy);
    }

    fn tick(&mut self) {
        let now = self.began + self.now;
        let in_vain: usize = self.proxies.iter_mut().map(|proxy| proxy.tick(now)).sum();
        self.tally.in_vain += in_vain as u64;
        if in_vain > 0 {
            self.tally.bad(self.now);
        }
        (0..self.proxies.len()).for_each(|number| self.proxy_may_end(number));
        self.after(Duration::from_secs(1), Event::Tick);
    }

    /// It finishes its calls. What it has not begun, the next owner begins.
    fn processor_stops(&mut self, number: usize) {
        self.processors[number].stops = true;
        let given_back = self.processors[number].give_back();
        self.return_to_partitions(given_back);
        self.processor_may_end(number);
    }

    fn processor_may_end(&mut self, number: usize) {
        let processor = &self.processors[number];
        if processor.stops && processor.calls.is_empty() {
            self.processors[number].give_up();
            self.processors[number].stops = true;
            self.group.leave(number);
            self.after(REBALANCE, Event::Rebalanced);
            self.after(START, Event::ProcessorStarts(number));
        }
    }

    fn return_to_partitions(&mut self, letters: Vec<Letter>) {
        for letter in letters.into_iter().rev() {
            self.partitions[letter.partition].push_front(letter);
        }
    }

    fn proxy_may_end(&mut self, number: usize) {
        let proxy = &mut self.proxies[number];
        if proxy.drains && proxy.waiting() == 0 {
            proxy.drains = false;
            self.after(START, Event::ProxyStarts(number));
        }
    }

    /// When a record that is produced now can be read. Without a leader it waits at its producer, which sends it again.
    fn carried(&mut self, partition: usize) -> Duration {
        let mut at = self.now;
        if partition.is_multiple_of(self.options.brokers) && at < self.without_leader {
            at = self.without_leader + NOTICED.mul_f64(self.random.random());
        }
        at + self.between(CARRIED)
    }

    fn between(&mut self, (least, most): (Duration, Duration)) -> Duration {
        least + (most - least).mul_f64(self.random.random())
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.agenda.note(self.now + wait, event);
    }
}
