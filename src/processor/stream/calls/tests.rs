use futures_util::FutureExt;

use super::*;

struct Fixture {
    calls: Calls,
    heeded: IntCounter,
    early: IntGauge,
}

fn fixture() -> Fixture {
    let heeded = IntCounter::new("heeded", "heeded").unwrap();
    let early = IntGauge::new("early", "early").unwrap();
    Fixture {
        calls: Calls::new(heeded.clone(), early.clone()),
        heeded,
        early,
    }
}

fn offer() -> StreamOffer {
    StreamOffer {
        window: 100,
        instance: InstanceId::new(),
    }
}

fn cancel(id: &'static [u8], stream: Option<StreamId>) -> Event {
    let correlation_id = Bytes::from_static(id);
    Event::Control(Control::Cancel { correlation_id, stream })
}

fn streams(call: &Call) -> StreamId {
    let id = StreamId::new();
    call.streams(Streamed {
        id,
        destination: Destination::any_partition(&"responses".into()),
        key: None,
        is_sealed: false,
    });
    id
}

/// Moves all clocks of the calls back, as if so much time had passed.
fn pass(calls: &Calls, time: Duration) {
    let mut state = calls.0.borrow_mut();
    state.trouble -= time;
    state.requesters.values_mut().for_each(|it| it.heard -= time);
    for call in state.open.values_mut().flatten() {
        let old = Call {
            correlation_id: call.correlation_id.clone(),
            offer: call.offer,
            since: call.since - time,
            credit: Cell::new(call.credit()),
            stream: RefCell::new(None),
            ending: Cell::new(None),
            changed: Notify::new(),
        };
        *call = Rc::new(old);
    }
}

#[test]
fn a_cancel_ends_every_call_of_its_request_or_the_one_that_it_names() {
    let Fixture { calls, heeded, .. } = fixture();
    let [first, second] = [(); 2].map(|()| calls.begin(b"id", offer()).unwrap());
    let other = calls.begin(b"other", offer()).unwrap();
    let id = streams(&first);
    calls.hear(&cancel(b"id", Some(StreamId::new())));
    assert_eq!(heeded.get(), 0);
    calls.hear(&cancel(b"id", Some(id)));
    assert_eq!(first.ended().now_or_never(), Some(Ending::Cancelled));
    assert!(second.ended().now_or_never().is_none());
    calls.hear(&cancel(b"id", None));
    assert_eq!(second.ended().now_or_never(), Some(Ending::Cancelled));
    assert!(other.ended().now_or_never().is_none());
    assert_eq!(heeded.get(), 2);
    drop((first, second, other));
    assert!(calls.0.borrow().open.is_empty() && calls.0.borrow().requesters.is_empty());
}

#[test]
fn a_cancel_that_comes_first_keeps_its_request_from_being_begun() {
    let Fixture { calls, heeded, early } = fixture();
    calls.hear(&cancel(b"id", None));
    calls.hear(&cancel(b"over", Some(StreamId::new())));
    assert_eq!(early.get(), 1, "one that names a stream is of a call that is over");
    assert!(calls.begin(b"id", offer()).is_none());
    assert_eq!((heeded.get(), early.get()), (1, 0));
    assert!(calls.begin(b"id", offer()).is_some(), "a redriven letter is executed");
}

#[test]
fn credit_is_of_one_stream_and_never_less() {
    let calls = fixture().calls;
    let call = calls.begin(b"id", offer()).unwrap();
    let credit = |stream, total| {
        let correlation_id = Bytes::from_static(b"id");
        calls.hear(&Event::Control(Control::Credit {
            correlation_id,
            stream,
            total,
        }));
    };
    let id = streams(&call);
    credit(StreamId::new(), 500);
    assert_eq!(call.credit(), 100);
    credit(id, 500);
    credit(id, 400);
    assert_eq!(call.credit(), 500);
    assert!(call.changed().now_or_never().is_some());
}

#[test]
fn a_requester_is_gone_when_it_was_silent_while_all_was_well() {
    let calls = fixture().calls;
    let offer = offer();
    let _old = calls.begin(b"old", offer).unwrap();
    assert!(calls.tick(true).is_empty());
    pass(&calls, SILENT_FOR);
    assert_eq!(calls.tick(true), [offer.instance]);
    // It is heard before the end of the topic was seen.
    calls.hear(&Event::Control(Control::Alive {
        instance: offer.instance,
    }));
    calls.hear(&Event::Silent(offer.instance));
    let ending = |id: &[u8]| calls.0.borrow().open[id][0].ending();
    assert_eq!(ending(b"old"), None);
    pass(&calls, SILENT_FOR);
    let _young = calls.begin(b"young", offer).unwrap();
    calls.hear(&Event::Silent(offer.instance));
    assert_eq!(ending(b"old"), Some(Ending::RequesterGone));
    assert_eq!(ending(b"young"), None, "it may not have written since");
}

#[test]
fn an_outage_and_a_standstill_of_ours_do_not_count() {
    let calls = fixture().calls;
    let offer = offer();
    let _call = calls.begin(b"id", offer).unwrap();
    pass(&calls, SILENT_FOR);
    assert!(calls.tick(false).is_empty());
    pass(&calls, SILENT_FOR);
    calls.hear(&Event::Behind);
    assert!(calls.tick(true).is_empty());
    pass(&calls, SILENT_FOR);
    calls.0.borrow_mut().ticked -= SILENT_FOR;
    assert!(calls.tick(true).is_empty());
    pass(&calls, SILENT_FOR);
    assert_eq!(calls.tick(true), [offer.instance]);
}
