//! Values from their texts.

use super::*;

#[test]
fn durations() {
    for (text, millis) in [
        ("30", 30_000),
        ("0", 0),
        ("0.25", 250),
        ("250ms", 250),
        ("2m", 120_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("30s", 30_000),
        ("365d", 31_536_000_000),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "-1", "abc", "1 parsec", "NaN", "inf", "1e30", "366d", "30 000"] {
        assert!(duration(text).is_err(), "{text}");
    }
    assert!(positive_duration("0").is_err());
    assert!(positive_duration("0ms").is_err());
    assert_eq!(positive_duration("0.001"), Ok(Duration::from_millis(1)));
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("900KiB", 921_600),
        ("1MB", 1_000_000),
        ("921600", 921_600),
        ("1 MiB", 1_048_576),
        ("10b", 10),
        ("2kb", 2_000),
        ("1GiB", 1 << 30),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
    for text in [
        "",
        "0",
        "KiB",
        "1.5MB",
        "-1",
        "1TB",
        "99999999999999999999",
        "18446744073709551615KiB",
    ] {
        assert!(size(text).is_err(), "{text}");
    }
}

#[test]
fn numbers() {
    assert_eq!(whole::<u32>("0"), Ok(0));
    assert!(whole::<u32>("-1").is_err());
    assert!(whole::<usize>("1.5").is_err());
    assert_eq!(positive("1"), Ok(1));
    assert!(positive("0").is_err());
    assert_eq!(rate("0.5"), Ok(0.5));
    assert!(["0", "-1", "inf", "NaN", "x"].iter().all(|text| rate(text).is_err()));
    assert_eq!((broker_count("-1"), broker_count("3")), (Ok(-1), Ok(3)));
    assert!(["0", "-2", "x"].iter().all(|text| broker_count(text).is_err()));
    assert_eq!((port("0"), port("65535")), (Ok(0), Ok(65535)));
    assert!(["65536", "-1", "http", "80.5"].iter().all(|text| port(text).is_err()));
}

#[test]
fn words() {
    assert_eq!((flag("TRUE"), flag("off")), (Ok(true), Ok(false)));
    assert!(flag("maybe").is_err());
    assert_eq!(
        (wire_format("native"), wire_format("json")),
        (Ok(Format::Native), Ok(Format::Json))
    );
    assert!(wire_format("JSON5").is_err());
    assert_eq!(reply_partition("auto"), Ok(ReplyPartition::Auto));
    assert_eq!(reply_partition("all"), Ok(ReplyPartition::All));
    assert_eq!(reply_partition("7"), Ok(ReplyPartition::Number(7)));
    assert!(["-1", "first"].iter().all(|text| reply_partition(text).is_err()));
    assert_eq!(
        (start("earliest"), start("latest")),
        (Ok(Start::Earliest), Ok(Start::Latest))
    );
    assert_eq!(
        (host("backend"), host("preserve")),
        (Ok(HostHeader::Backend), Ok(HostHeader::Preserve))
    );
    assert_eq!(
        (log_format("text"), log_format("json")),
        (Ok(LogFormat::Text), Ok(LogFormat::Json))
    );
    assert!(start("now").is_err() && host("client").is_err() && log_format("xml").is_err());
    assert_eq!(ip("::1"), Ok("::1".parse().unwrap()));
    assert!(ip("localhost").is_err());
    assert!(text(" ").is_err() && text("a\nb").is_err());
    assert_eq!(
        (tls_verify("full"), tls_verify("none-dangerous")),
        (Ok(true), Ok(false))
    );
    assert!(
        ["none", "false", "off", "no"]
            .iter()
            .all(|word| tls_verify(word).is_err())
    );
    assert!(token("0123456789abcdef").is_ok());
    assert!(
        ["0123456789abcde", "0123456789 abcdef", "0123456789abcdeä"]
            .iter()
            .all(|text| token(text).is_err())
    );
}
