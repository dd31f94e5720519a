use super::*;

const MINUTE: Duration = Duration::from_secs(60);

const SENDS: TopicUse = TopicUse::SendsRequests {
    max_body: 100_000,
    deadline: MINUTE,
};
const TAKES: TopicUse = TopicUse::TakesRequests {
    workers: 1,
    max_record: 1_000_000,
    deadline: MINUTE,
};

fn awaits(partition: Option<i64>) -> TopicUse {
    TopicUse::AwaitsReplies {
        partition,
        deadline: MINUTE,
    }
}

fn well() -> TopicState {
    TopicState {
        partitions: 4,
        without_leader: 0,
        replicas: 3,
        in_sync: 3,
        rights: Rights::only(&[Right::Read, Right::Write, Right::DescribeConfigs]),
    }
}

fn config() -> TopicConfig {
    TopicConfig {
        max_message_bytes: Some(1_000_000),
        retention: Some(MINUTE),
        min_in_sync: Some(2),
        ..TopicConfig::default()
    }
}

fn found(used: TopicUse, state: TopicState, config: TopicConfig) -> Vec<(Severity, Kind)> {
    let topic = Topic {
        name: "t",
        uses: &[used],
        config: Some(config),
        brokers: 3,
    };
    let findings = topic.findings(&Surveyed::Found(state), || panic!("it exists"));
    assert!(findings.iter().all(|finding| finding.subject == "topic t"));
    findings
        .iter()
        .map(|finding| (finding.severity, finding.kind))
        .collect()
}

#[test]
fn a_topic_that_is_well_has_no_findings() {
    for used in [
        SENDS,
        TAKES,
        awaits(Some(3)),
        TopicUse::SendsReplies { max_record: 1_000_000 },
        TopicUse::SendsDeadLetters { max_record: 1_000_000 },
    ] {
        assert_eq!(found(used, well(), config()), [], "{used:?}");
        // What the brokers do not tell is no finding.
        let untold = TopicState {
            rights: Rights::default(),
            ..well()
        };
        assert_eq!(found(used, untold, TopicConfig::default()), [], "{used:?}");
    }
}

#[test]
fn each_fault_is_found_once_and_no_other() {
    use Kind::*;
    use Severity::*;
    let state = |change: fn(&mut TopicState)| {
        let mut state = well();
        change(&mut state);
        state
    };
    let with = |change: fn(&mut TopicConfig)| {
        let mut config = config();
        change(&mut config);
        config
    };
    let only = |right: Right| TopicState {
        rights: Rights::only(&[right]),
        ..well()
    };
    for (used, state, config, expected) in [
        (SENDS, only(Right::DescribeConfigs), config(), (Stops, MissingRight)),
        (TAKES, only(Right::Write), config(), (Stops, MissingRight)),
        (SENDS, only(Right::Write), config(), (Warns, MissingRight)),
        (
            SENDS,
            state(|state| state.without_leader = 1),
            config(),
            (Stops, Replication),
        ),
        (
            SENDS,
            well(),
            with(|config| config.min_in_sync = Some(4)),
            (Stops, Replication),
        ),
        (SENDS, state(|state| state.in_sync = 1), config(), (Stops, Replication)),
        (
            SENDS,
            well(),
            with(|config| config.min_in_sync = Some(3)),
            (Warns, Replication),
        ),
        (
            SENDS,
            state(|state| (state.replicas, state.in_sync) = (1, 1)),
            with(|config| config.min_in_sync = Some(1)),
            (Warns, Replication),
        ),
        (
            SENDS,
            well(),
            with(|config| config.max_message_bytes = Some(150_000)),
            (Warns, RecordSize),
        ),
        (
            TAKES,
            well(),
            with(|config| config.max_message_bytes = Some(1_000_001)),
            (Warns, RecordSize),
        ),
        (
            SENDS,
            well(),
            with(|config| config.compacted = true),
            (Stops, Compaction),
        ),
        (
            awaits(None),
            well(),
            with(|config| config.compacted = true),
            (Warns, Compaction),
        ),
        (
            TAKES,
            well(),
            with(|config| config.retention = Some(MINUTE / 2)),
            (Warns, Retention),
        ),
        (awaits(Some(4)), well(), config(), (Warns, Partitions)),
    ] {
        assert_eq!(
            found(used, state.clone(), config),
            [expected],
            "{used:?} {state:?} {config:?}"
        );
    }
    // What requests can do without stops nothing.
    let steers = |required| TopicUse::SteersStreams { required };
    assert_eq!(
        found(steers(false), only(Right::Read), config()),
        [(Warns, MissingRight)]
    );
    assert_eq!(
        found(steers(true), only(Right::Read), config()),
        [(Stops, MissingRight)]
    );
    assert_eq!(
        found(TopicUse::SendsBodies, only(Right::Read), config()),
        [(Warns, MissingRight)]
    );
    assert_eq!(
        found(TopicUse::TakesBodies, only(Right::Write), config()),
        [(Warns, MissingRight)]
    );
    // Whoever only reads does not need enough replicas in sync.
    assert_eq!(found(TAKES, well(), with(|config| config.min_in_sync = Some(4))), []);
}

#[test]
fn a_topic_that_does_not_exist_stops_traffic_unless_it_is_created_at_start() {
    let topic = Topic {
        name: "t",
        uses: &[SENDS],
        config: None,
        brokers: 1,
    };
    for (creation, severity) in [
        (Creation::Off, Severity::Stops),
        (Creation::Refused("no".into()), Severity::Stops),
        (Creation::AtStart, Severity::Warns),
    ] {
        let [one] = &topic.findings(&Surveyed::Missing, || creation)[..] else {
            panic!()
        };
        assert_eq!((one.severity, one.kind), (severity, Kind::MissingTopic));
    }
    let [denied] = &topic.findings(&Surveyed::Denied, || panic!("not asked"))[..] else {
        panic!()
    };
    assert_eq!((denied.severity, denied.kind), (Severity::Stops, Kind::MissingRight));
    assert!(denied.cure.ends_with("--operation Write --topic t"), "{denied:?}");
}

#[test]
fn a_topic_of_bodies_that_nobody_needed_yet_is_missed_by_the_proxy_alone() {
    let findings = |uses| {
        let topic = Topic {
            name: "t",
            uses,
            config: None,
            brokers: 1,
        };
        topic.findings(&Surveyed::Missing, || Creation::Off)
    };
    assert_eq!(findings(&[TopicUse::TakesBodies]), []);
    let [one] = &findings(&[TopicUse::SendsBodies, TopicUse::TakesBodies])[..] else {
        panic!()
    };
    assert_eq!((one.severity, one.kind), (Severity::Warns, Kind::MissingTopic));
    assert!(one.problem.ends_with("bodies larger than a record fail"), "{one:?}");
}
