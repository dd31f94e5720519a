#![no_main]

use actix_khp_fuzz::pieces::{Cutter, Sizes};
use actix_khp_fuzz::wire::stream::{StreamError, Then};
use bytes::Bytes;

// However the backend writes, the requester allows and Kafka acknowledges: the pieces are the body in order, within what is allowed, and one
// of them is the last. Each byte is a step.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((window, steps)) = input.split_first() else { return };
    let sizes = Sizes { first: 7, further: 16 };
    let mut cutter = Cutter::new(sizes, u64::from(*window));
    let mut allowed = u64::from(*window);
    let (mut pushed, mut sent, mut pieces, mut acked) = (Vec::new(), Vec::new(), 0, 0);
    let mut end: Option<Then> = None;
    let mut is_over = false;
    let (mut was_cut, mut next_byte) = (false, 0_u8);
    for step in steps {
        let count = usize::from(step >> 3);
        match step & 7 {
            0..=2 => {
                let bytes: Vec<u8> = (0..count).map(|_| { next_byte = next_byte.wrapping_add(1); next_byte }).collect();
                if end.is_none() {
                    pushed.extend_from_slice(&bytes);
                }
                cutter.push(Bytes::from(bytes));
            }
            3 => {
                // A total that may be less than what was said before.
                let total = sent.len() as u64 + count as u64;
                assert_eq!(cutter.credit(total), total > allowed);
                allowed = allowed.max(total);
            }
            4 | 5 => {
                acked = (acked + count as u64).min(pieces);
                cutter.acked(acked);
            }
            6 => {
                let then = if count & 1 == 0 { Then::End } else { Then::Cut(StreamError::BackendReset) };
                cutter.end(then);
                end.get_or_insert(then);
            }
            _ if count == 0 => {
                cutter.cut_off(StreamError::Draining);
                (end, was_cut) = (Some(Then::Cut(StreamError::Draining)), true);
            }
            _ => {}
        }
        while let Some(cut) = cutter.next_piece() {
            assert!(!is_over, "nothing follows the last piece");
            assert_eq!(cut.seq, pieces);
            assert!(pieces == 0 || acked > 0, "nothing follows the first piece before it is acknowledged");
            assert!(cut.body.len() <= if pieces == 0 { sizes.first } else { sizes.further });
            pieces += 1;
            sent.extend_from_slice(&cut.body);
            assert!(sent.len() as u64 <= allowed, "{} of {allowed}", sent.len());
            assert_eq!(sent[..], pushed[..sent.len()]);
            if cut.then != Then::More {
                is_over = true;
                assert_eq!(Some(cut.then), end);
                assert!(was_cut || sent.len() == pushed.len(), "all of it, or cut off");
            }
        }
        assert_eq!(cutter.is_finished(), is_over);
    }
    // Whatever happened: with credit, acknowledgements and an end, it comes to its end.
    cutter.end(Then::End);
    for _ in 0..=pushed.len() + 2 {
        cutter.credit(u64::MAX);
        cutter.acked(pieces);
        while cutter.next_piece().is_some() {
            pieces += 1;
        }
    }
    assert!(cutter.is_finished());
});
