//! Each letter goes back once, whatever ends a redrive, and not for ever.

use crate::harness::dead_letters::{Place, by_value, nobody};
use crate::harness::one_shot::Begun;
use crate::harness::records::{produce, produce_all, read_all};
use crate::harness::topics::{create_topic, set_topic};
use crate::harness::unique;
use crate::harness::wait::eventually;

/// The show of issue 5: 1,000 letters by a filter, killed with -9 on the way, and no double.
#[tokio::test]
async fn a_redrive_that_is_killed_goes_on_without_a_double() {
    let place = Place::new().await;
    for partition in 0..2 {
        // Every other one is not meant.
        let letters = (0..1000).map(|number| {
            let path = if number % 2 == 0 { "/meant" } else { "/other" };
            place.letter(partition * 1000 + number, path, &[])
        });
        produce_all(&place.dead_letters, partition as i32, letters).await;
    }
    let meant = ["redrive", "--filter", "path=/meant"];
    let spec = place.spec("http://127.0.0.1:9");
    let mut kills = 0;
    for signal in ["KILL", "KILL", "INT"] {
        // Far from the end, however late a busy machine notices that there is enough.
        let goal = read_all(&place.topics.request).await.len() + 50;
        let slow = Begun::start(&spec, &[&["dlq"], &meant[..], &["--rate", "50"]].concat());
        eventually(&format!("{goal} went back"), async || {
            match read_all(&place.topics.request).await.len() {
                enough if enough >= goal => Ok(()),
                few => Err(few.to_string()),
            }
        })
        .await;
        slow.signal(signal).await;
        let said = slow.end().await;
        match signal {
            "KILL" => assert_eq!(said.code, None, "{said:?}"),
            _ => assert_eq!(said.code, Some(75), "{said:?}"),
        }
        kills += 1;
    }
    let before = read_all(&place.topics.request).await.len();
    assert!(before < 1000, "it was interrupted");
    let rest = place.dlq(&meant).await;
    assert_eq!(rest.code, Some(0), "{rest:?}");
    let there = by_value(&read_all(&place.topics.request).await);
    let wanted = (0..2000)
        .filter(|number| number % 2 == 0)
        .map(|number| (number.to_string(), 1));
    assert_eq!(there, wanted.collect(), "each that was meant, once");
    println!(
        "interrupted {kills} times at {before} of 1000; the last run: {}",
        rest.out.trim()
    );

    // Those that the filter passed over are still there for another.
    let listed = place.dlq(&["list"]).await;
    assert_eq!(listed.out.lines().count(), 1001, "a head and 1,000 letters");
    let others = place.dlq(&["redrive", "--max", "7"]).await;
    assert_eq!(others.out, "redriven: 7\n", "{others:?}");
    let others = place.dlq(&["redrive"]).await;
    assert_eq!(others.out, "redriven: 993\n", "{others:?}");
    let there = by_value(&read_all(&place.topics.request).await);
    assert_eq!(there, (0..2000).map(|number| (number.to_string(), 1)).collect());
}

#[tokio::test]
async fn a_record_that_fails_again_and_again_does_not_circle_for_ever() {
    let place = Place::new().await;
    let processor = place.spec(&nobody()).start().await;
    produce(
        &place.topics.request,
        0,
        b"poison",
        &[
            ("khp-version", b"1"),
            ("kafka_correlationId", b"poison-1"),
            (":method", b"POST"),
            (":path", b"/x"),
        ],
    )
    .await;
    for round in 1..=3 {
        eventually("given up", async || {
            let letters = read_all(&place.dead_letters).await;
            let letters = letters.iter().filter(|letter| letter.header("khp-error").is_some());
            match letters.count() {
                found if found == round => Ok(()),
                found => Err(found.to_string()),
            }
        })
        .await;
        let said = place.dlq(&["redrive"]).await;
        assert_eq!(said.out, "redriven: 1\n", "round {round}: {said:?}");
    }
    eventually("given up a fourth time", async || {
        let listed = place.dlq(&["list", "--filter", "redrive=3"]).await;
        if listed.out.lines().count() == 2 {
            Ok(())
        } else {
            Err(format!("{listed:?}"))
        }
    })
    .await;
    let before = read_all(&place.topics.request).await.len();
    let said = place.dlq(&["redrive"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.starts_with("redriven: 0\nleft: 1 (") && said.out.contains("khp-redrive"),
        "{said:?}"
    );
    assert_eq!((read_all(&place.topics.request).await.len(), before), (4, 4));
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_letter_that_the_topic_does_not_take_stays_and_its_neighbours_go() {
    let place = Place::new().await;
    let small = unique("small-requests");
    create_topic(&small, 1).await;
    set_topic(&small, "max.message.bytes", "1000").await;
    let mut letters: Vec<_> = (0..5).map(|number| place.letter(number, "/x", &[])).collect();
    letters[2].0 = vec![b'x'; 5000];
    produce_all(&place.dead_letters, 1, letters).await;
    let said = place.dlq(&["redrive", "--to", &small]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out
            .starts_with("redriven: 4\nleft: 1 (1:2): is not taken by topic"),
        "{said:?}"
    );
    assert_eq!(read_all(&small).await.len(), 4);
}

#[tokio::test]
async fn two_redrives_at_once_do_not_double_anything() {
    let place = Place::new().await;
    let letters = (0..600).map(|number| place.letter(number, "/x", &[]));
    produce_all(&place.dead_letters, 0, letters).await;
    let spec = place.spec("http://127.0.0.1:9");
    // Half a minute's work, of which the second leaves it little.
    let first = Begun::start(&spec, &["dlq", "redrive", "--rate", "20"]);
    eventually("the first is at work", async || {
        match read_all(&place.topics.request).await.len() {
            0 => Err("nothing yet".into()),
            _ => Ok(()),
        }
    })
    .await;
    let second = place.dlq(&["redrive"]).await;
    assert_eq!(second.code, Some(0), "{second:?}");
    let first = first.end().await;
    assert_eq!(first.code, Some(70), "shut out: {first:?}");
    assert!(first.err.contains("another redrive"), "{first:?}");
    let there = by_value(&read_all(&place.topics.request).await);
    assert_eq!(there, (0..600).map(|number| (number.to_string(), 1)).collect());
}
