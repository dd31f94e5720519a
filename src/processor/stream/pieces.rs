//! Cuts a body into pieces: which bytes go into which record, and when. Pure: it hears what happens, and says what is to be sent.
//!
//! A full piece goes at once, as far as the window allows. A smaller one goes as soon as no other piece is unacknowledged. So a lone token
//! leaves at once, and under load pieces grow by themselves. Nothing follows the first piece before that is acknowledged: it may have to be
//! sent again.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::stream::{StreamError, Then};

/// Bytes of one stream that wait for their acknowledgement at most, whatever the requester's window is.
pub const MOST_UNACKED: usize = 1 << 20;

/// The sizes of pieces, in bytes of body.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Of the first one, which carries the head.
    pub first: usize,
    /// Of each other.
    pub further: usize,
}

/// A piece that is to be sent now.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    pub seq: u64,
    pub body: Bytes,
    pub then: Then,
}

/// The body of one stream.
pub struct Cutter {
    sizes: Sizes,
    /// What came and was not sent.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// Bytes that may be sent in all, as far as the requester said.
    allowed: u64,
    /// Bytes that were sent.
    sent: u64,
    /// The number of the next piece.
    seq: u64,
    /// Sizes of the pieces that are not acknowledged.
    unacked: VecDeque<usize>,
    unacked_bytes: usize,
    acked: u64,
    /// Set when nothing more comes.
    end: Option<Then>,
    /// The last piece was sent.
    is_finished: bool,
}

impl Cutter {
    /// `window`: bytes that may be sent before credit comes.
    pub fn new(sizes: Sizes, window: u64) -> Self {
        Cutter {
            sizes,
            held: VecDeque::new(),
            held_bytes: 0,
            allowed: window,
            sent: 0,
            seq: 0,
            unacked: VecDeque::new(),
            unacked_bytes: 0,
            acked: 0,
            end: None,
            is_finished: false,
        }
    }

    /// Takes in what the backend wrote.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() && self.end.is_none() {
            self.held_bytes += bytes.len();
            self.held.push_back(bytes);
        }
    }

    /// Nothing more comes. What is held is sent first.
    pub fn end(&mut self, then: Then) {
        self.end.get_or_insert(then);
    }

    /// The body is cut off here: what may not be sent now is not sent.
    pub fn cut_off(&mut self, error: StreamError) {
        self.held.clear();
        self.held_bytes = 0;
        self.end = Some(Then::Cut(error));
    }

    /// So many bytes may have been sent so far. True: that is more than before.
    pub fn credit(&mut self, total: u64) -> bool {
        let more = total > self.allowed;
        self.allowed = self.allowed.max(total);
        more
    }

    /// So many pieces were acknowledged so far. True: that is more than before.
    pub fn acked(&mut self, count: u64) -> bool {
        let more = count > self.acked;
        while self.acked < count {
            self.acked += 1;
            self.unacked_bytes -= self.unacked.pop_front().unwrap_or_default();
        }
        more
    }

    /// The next piece, if one is to be sent now.
    pub fn next_piece(&mut self) -> Option<Cut> {
        if self.is_finished || (self.seq > 0 && self.acked == 0) {
            return None;
        }
        let (largest, room) = (self.largest(), self.room());
        let length = self.held_bytes.min(largest).min(room);
        let is_last = self.end.is_some() && length == self.held_bytes;
        let is_first = self.seq == 0;
        let grows = length < largest && !self.unacked.is_empty();
        if !is_last && !is_first && (length == 0 || grows) {
            return None;
        }
        let then = match self.end {
            Some(end) if is_last => end,
            _ => Then::More,
        };
        let cut = Cut {
            seq: self.seq,
            body: self.take(length),
            then,
        };
        self.seq += 1;
        self.sent += length as u64;
        self.unacked.push_back(length);
        self.unacked_bytes += length;
        self.is_finished = is_last;
        Some(cut)
    }

    /// The backend is to be read on: less than a piece is held.
    pub fn wants_more(&self) -> bool {
        self.end.is_none() && self.held_bytes < self.sizes.further
    }

    /// Nothing can be sent before the requester allows it.
    pub fn waits_for_credit(&self) -> bool {
        self.held_bytes > 0 && self.sent >= self.allowed
    }

    /// The last piece was sent.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Everything that was sent was acknowledged.
    pub fn is_acked(&self) -> bool {
        self.unacked.is_empty()
    }

    /// How the body ended, as the last piece says it.
    pub fn ended(&self) -> Option<Then> {
        self.end.filter(|_| self.is_finished)
    }

    fn largest(&self) -> usize {
        match self.seq {
            0 => self.sizes.first,
            _ => self.sizes.further,
        }
    }

    /// How many bytes may be sent now.
    fn room(&self) -> usize {
        let by_window = usize::try_from(self.allowed.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        by_window.min(MOST_UNACKED.saturating_sub(self.unacked_bytes))
    }

    /// One part is not copied.
    fn take(&mut self, length: usize) -> Bytes {
        self.held_bytes -= length;
        let Some(first) = self.held.front_mut() else {
            return Bytes::new();
        };
        if first.len() > length {
            return first.split_to(length);
        }
        if first.len() == length {
            return self.held.pop_front().unwrap_or_default();
        }
        let mut body = BytesMut::with_capacity(length);
        while body.len() < length {
            let Some(first) = self.held.front_mut() else { break };
            let part = first.len().min(length - body.len());
            body.extend_from_slice(&first[..part]);
            first.advance(part);
            if first.is_empty() {
                self.held.pop_front();
            }
        }
        body.freeze()
    }
}
