//! The events of a stream. Each says its number, when it was written, and fills up to its size, so that every byte can be checked.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// An event of this many bytes, if it has room for what it says.
pub fn event(number: u64, at: Duration, size: usize) -> Vec<u8> {
    let mut text = format!("data: {number} {} ", at.as_nanos()).into_bytes();
    text.resize((size.saturating_sub(2)).max(text.len()), b'x');
    text.extend_from_slice(b"\n\n");
    text
}

/// Takes a stream of events apart.
pub struct Events {
    rest: BytesMut,
    /// The number that the next one must have.
    next: u64,
    size: usize,
}

impl Events {
    pub fn new(size: usize) -> Self {
        Events {
            rest: BytesMut::new(),
            next: 0,
            size,
        }
    }

    /// Takes in the next bytes, and hands over when each event was written.
    ///
    /// # Errors
    /// A byte is not what was written.
    pub fn take(&mut self, bytes: &Bytes, mut found: impl FnMut(Duration)) -> Result<(), String> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.windows(2).position(|window| window == b"\n\n") {
            let text = self.rest.split_to(end + 2);
            let nanos = text[..].split(|byte| *byte == b' ').nth(2);
            let nanos = nanos.and_then(|nanos| std::str::from_utf8(nanos).ok()?.parse().ok());
            let at = Duration::from_nanos(nanos.unwrap_or(0));
            if text != event(self.next, at, self.size)[..] {
                return Err(format!("event {} is not what was written", self.next));
            }
            self.next += 1;
            found(at);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_they_are_cut_and_no_byte_may_differ() {
        let all: Vec<u8> = (0..10)
            .flat_map(|number| event(number, Duration::from_nanos(number * 7), 60))
            .collect();
        for cut in [1, 7, 60, 61, 600] {
            let (mut events, mut found) = (Events::new(60), Vec::new());
            for part in all.chunks(cut) {
                let taken = events.take(&Bytes::copy_from_slice(part), |at| found.push(at.as_nanos() as u64 / 7));
                taken.unwrap();
            }
            assert_eq!(found, (0..10).collect::<Vec<_>>());
        }
        for wrong in 0..all.len() {
            let mut all = all.clone();
            all[wrong] ^= 1;
            let mut found = Vec::new();
            let taken = Events::new(60).take(&all.into(), |at| found.push(at.as_nanos() as u64));
            // A digit of a time makes another time: nothing else says when an event was written.
            let times: Vec<u64> = (0..10).map(|number| number * 7).collect();
            assert!(taken.is_err() || found != times, "byte {wrong}");
        }
    }
}
