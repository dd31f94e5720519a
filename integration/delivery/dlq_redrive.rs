//! Each letter goes back once, whatever ends a redrive, and not again and again.

use crate::harness::backend::unreachable_url;
use crate::harness::command::Running;
use crate::harness::dlq::{Dlq, by_value};
use crate::harness::names::unique;
use crate::harness::records::{produce, produce_all, read_all, request_headers};
use crate::harness::topics::{create_topic, set_topic};
use crate::harness::wait::eventually;

/// A redrive of 1,000 letters, chosen by a filter, is interrupted three times on its way.
#[tokio::test]
async fn a_redrive_that_is_killed_continues_without_doubles() {
    let dlq = Dlq::create().await;
    for partition in 0..2 {
        // The filter matches every other letter.
        let letters = (0..1000).map(|number| {
            let path = if number % 2 == 0 { "/matches" } else { "/other" };
            dlq.letter(partition * 1000 + number, path, &[])
        });
        produce_all(&dlq.dead_letters, partition as i32, letters).await;
    }
    let matching = ["redrive", "--filter", "path=/matches"];
    let spec = dlq.command_spec();
    let mut kills = 0;
    for signal in ["KILL", "KILL", "INT"] {
        // Far from the end, even where a busy machine notices late that enough letters went back.
        let goal = read_all(&dlq.topics.request).await.len() + 50;
        let slow = Running::start(&spec, &[&["dlq"], &matching[..], &["--rate", "50"]].concat());
        eventually(&format!("{goal} went back"), async || {
            match read_all(&dlq.topics.request).await.len() {
                enough if enough >= goal => Ok(()),
                few => Err(few.to_string()),
            }
        })
        .await;
        slow.signal(signal);
        let ended = slow.end().await;
        match signal {
            "KILL" => assert_eq!(ended.code, None, "{ended:?}"),
            _ => assert_eq!(ended.code, Some(75), "{ended:?}"),
        }
        kills += 1;
    }
    let before = read_all(&dlq.topics.request).await.len();
    assert!(before < 1000, "it was interrupted");
    let rest = dlq.run(&matching).await;
    assert_eq!(rest.code, Some(0), "{rest:?}");
    let there = by_value(&read_all(&dlq.topics.request).await);
    let wanted = (0..2000)
        .filter(|number| number % 2 == 0)
        .map(|number| (number.to_string(), 1));
    assert_eq!(there, wanted.collect(), "each letter that matches, once");
    println!(
        "interrupted {kills} times at {before} of 1000; the last run: {}",
        rest.out.trim()
    );

    // The letters that did not match are still there for another filter.
    let listed = dlq.run(&["list"]).await;
    assert_eq!(listed.out.lines().count(), 1001, "a head and 1,000 letters");
    let others = dlq.run(&["redrive", "--max", "7"]).await;
    assert_eq!(others.out, "redriven: 7\n", "{others:?}");
    let others = dlq.run(&["redrive"]).await;
    assert_eq!(others.out, "redriven: 993\n", "{others:?}");
    let there = by_value(&read_all(&dlq.topics.request).await);
    assert_eq!(there, (0..2000).map(|number| (number.to_string(), 1)).collect());
}

#[tokio::test]
async fn a_record_that_fails_again_and_again_is_redriven_three_times_only() {
    let dlq = Dlq::create().await;
    let _processor = dlq.spec(&unreachable_url()).start().await;
    let headers = request_headers("poison-1", "POST", "/x", &[]);
    produce(&dlq.topics.request, 0, b"poison", &headers).await;
    for round in 1..=3 {
        eventually("given up", async || {
            let letters = read_all(&dlq.dead_letters).await;
            let letters = letters.iter().filter(|letter| letter.header("khp-error").is_some());
            match letters.count() {
                found if found == round => Ok(()),
                found => Err(found.to_string()),
            }
        })
        .await;
        let ended = dlq.run(&["redrive"]).await;
        assert_eq!(ended.out, "redriven: 1\n", "round {round}: {ended:?}");
    }
    eventually("given up a fourth time", async || {
        let listed = dlq.run(&["list", "--filter", "redrive=3"]).await;
        if listed.out.lines().count() == 2 {
            Ok(())
        } else {
            Err(format!("{listed:?}"))
        }
    })
    .await;
    let before = read_all(&dlq.topics.request).await.len();
    let ended = dlq.run(&["redrive"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.starts_with("redriven: 0\nleft: 1 (") && ended.out.contains("khp-redrive"),
        "{ended:?}"
    );
    assert_eq!((read_all(&dlq.topics.request).await.len(), before), (4, 4));
}

#[tokio::test]
async fn a_letter_that_the_topic_refuses_stays_and_the_others_go_back() {
    let dlq = Dlq::create().await;
    let small = unique("small-requests");
    create_topic(&small, 1).await;
    set_topic(&small, "max.message.bytes", "1000").await;
    let mut letters: Vec<_> = (0..5).map(|number| dlq.letter(number, "/x", &[])).collect();
    letters[2].0 = vec![b'x'; 5000];
    produce_all(&dlq.dead_letters, 1, letters).await;
    let ended = dlq.run(&["redrive", "--to", &small]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended
            .out
            .starts_with("redriven: 4\nleft: 1 (1:2): is not taken by topic"),
        "{ended:?}"
    );
    assert_eq!(read_all(&small).await.len(), 4);
}

#[tokio::test]
async fn two_redrives_at_once_make_no_doubles() {
    let dlq = Dlq::create().await;
    let letters = (0..600).map(|number| dlq.letter(number, "/x", &[]));
    produce_all(&dlq.dead_letters, 0, letters).await;
    let spec = dlq.command_spec();
    // Half a minute of work, most of which the second redrive takes over.
    let first = Running::start(&spec, &["dlq", "redrive", "--rate", "20"]);
    eventually("the first is at work", async || {
        match read_all(&dlq.topics.request).await.len() {
            0 => Err("nothing yet".into()),
            _ => Ok(()),
        }
    })
    .await;
    let second = dlq.run(&["redrive"]).await;
    assert_eq!(second.code, Some(0), "{second:?}");
    let first = first.end().await;
    assert_eq!(first.code, Some(70), "the second took over: {first:?}");
    assert!(first.err.contains("another redrive"), "{first:?}");
    let there = by_value(&read_all(&dlq.topics.request).await);
    assert_eq!(there, (0..600).map(|number| (number.to_string(), 1)).collect());
}
