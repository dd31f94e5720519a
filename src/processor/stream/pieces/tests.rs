use proptest::prelude::*;

use super::*;

const SIZES: Sizes = Sizes { first: 6, further: 10 };

fn cutter(window: u64) -> Cutter {
    Cutter::new(SIZES, window)
}

fn push(cutter: &mut Cutter, text: &'static str) {
    cutter.push(Bytes::from_static(text.as_bytes()));
}

fn next(cutter: &mut Cutter) -> Option<(u64, String, Then)> {
    let cut = cutter.next_piece()?;
    Some((cut.seq, String::from_utf8(cut.body.to_vec()).unwrap(), cut.then))
}

fn more(seq: u64, text: &str) -> Option<(u64, String, Then)> {
    Some((seq, text.to_owned(), Then::More))
}

#[test]
fn the_first_piece_may_be_empty_and_the_others_wait_for_it() {
    let mut cutter = cutter(100);
    assert_eq!(next(&mut cutter), more(0, ""));
    push(&mut cutter, "0123456789abc");
    assert_eq!(next(&mut cutter), None, "the first may have to be sent again");
    cutter.acked(1);
    assert_eq!(next(&mut cutter), more(1, "0123456789"));
    assert_eq!(next(&mut cutter), None, "a smaller one grows meanwhile");
    push(&mut cutter, "def");
    cutter.acked(2);
    assert_eq!(next(&mut cutter), more(2, "abcdef"));
    cutter.end(Then::End);
    assert_eq!(next(&mut cutter), Some((3, String::new(), Then::End)));
    assert!(cutter.is_finished() && !cutter.is_acked());
    assert_eq!(next(&mut cutter), None);
}

#[test]
fn the_window_is_kept_and_credit_is_a_total() {
    let mut cutter = cutter(8);
    push(&mut cutter, "0123456789abcdefghij");
    assert_eq!(next(&mut cutter), more(0, "012345"));
    cutter.acked(1);
    assert_eq!(next(&mut cutter), more(1, "67"));
    cutter.acked(2);
    assert_eq!(next(&mut cutter), None);
    assert!(cutter.waits_for_credit() && !cutter.wants_more());
    assert!(cutter.credit(12) && !cutter.credit(12) && !cutter.credit(3));
    assert_eq!(next(&mut cutter), more(2, "89ab"));
    cutter.acked(3);
    cutter.cut_off(StreamError::NoCredit);
    let last = (3, String::new(), Then::Cut(StreamError::NoCredit));
    assert_eq!(next(&mut cutter), Some(last), "an end takes no room in the window");
}

#[test]
fn what_came_before_the_backend_broke_off_is_sent() {
    let mut cutter = cutter(100);
    push(&mut cutter, "0123456789");
    cutter.end(Then::Cut(StreamError::BackendReset));
    assert_eq!(next(&mut cutter), more(0, "012345"));
    cutter.acked(1);
    let last = (1, "6789".to_owned(), Then::Cut(StreamError::BackendReset));
    assert_eq!(next(&mut cutter), Some(last));
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Ack,
    Credit(u64),
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..40).prop_map(Step::Push),
        4 => Just(Step::Ack),
        3 => (0u64..60).prop_map(Step::Credit),
        1 => Just(Step::End),
    ]
}

proptest! {
    /// However chunks, acknowledgements and credits interleave: bytes stay in order and complete, pieces keep their size and the window,
    /// numbers have no gap, and no more than a piece beyond what one read brings is held.
    #[test]
    fn no_byte_is_lost_and_no_window_exceeded(
        window in 0u64..40,
        first in 0usize..20,
        further in 1usize..30,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut cutter = Cutter::new(Sizes { first, further }, window);
        let (mut written, mut received, mut allowed) = (Vec::new(), Vec::new(), window);
        let (mut seq, mut acked, mut last, mut ended) = (0, 0, None, false);
        // What is not over by itself: everything is acknowledged and allowed at last.
        let rest = std::iter::once(Step::End).chain((0..400).flat_map(|_| [Step::Ack, Step::Credit(1_000)]));
        for step in steps.into_iter().chain(rest) {
            match step {
                Step::Push(length) if cutter.wants_more() => {
                    let bytes: Vec<u8> = (0..length).map(|at| (written.len() + at) as u8).collect();
                    written.extend_from_slice(&bytes);
                    cutter.push(bytes.into());
                    prop_assert!(cutter.held_bytes < further + 40);
                }
                Step::Push(_) => {}
                Step::Ack if acked < seq => {
                    acked += 1;
                    cutter.acked(acked);
                }
                Step::Ack => {}
                Step::Credit(more) => {
                    allowed += more;
                    cutter.credit(allowed);
                    // A repeat that comes late does no harm.
                    cutter.credit(allowed / 2);
                }
                Step::End => {
                    ended = true;
                    cutter.end(Then::End);
                }
            }
            while let Some(cut) = cutter.next_piece() {
                prop_assert_eq!(cut.seq, seq);
                prop_assert!(seq == 0 || acked > 0, "the first is acknowledged before others follow");
                let largest = if seq == 0 { first } else { further };
                prop_assert!(cut.body.len() <= largest);
                let grows = seq > 0 && acked < seq && cut.body.len() < further && cut.then == Then::More;
                prop_assert!(!grows, "a small piece does not wait for the one before it");
                prop_assert!(seq == 0 || !cut.body.is_empty() || cut.then != Then::More);
                let before = (seq > 0).then_some(Then::More);
                prop_assert_eq!(last.replace(cut.then), before);
                received.extend_from_slice(&cut.body);
                prop_assert!(received.len() as u64 <= allowed);
                seq += 1;
            }
            prop_assert!(cutter.unacked_bytes <= MOST_UNACKED);
        }
        prop_assert!(ended && cutter.is_finished() && cutter.is_acked());
        prop_assert_eq!(last, Some(Then::End));
        prop_assert_eq!(received, written);
    }
}
