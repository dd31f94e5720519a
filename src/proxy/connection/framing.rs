//! Where requests begin and end on a connection, followed just far enough to see their targets before the HTTP parser does.
//!
//! The `http` crate cuts a fragment off a target silently, and `DELETE /orders/#7` would delete all orders. RFC 9112 3.2 forbids
//! fragments there, so each `#` in a target becomes a byte that the parser refuses. Bodies pass untouched, whatever they look like, so
//! they are told from targets exactly as the parser does it. What the parser refuses anyway needs no care: it reads nothing more of
//! that connection.

/// Refused by the parser wherever it stands in a request line or in a field.
const REFUSED: u8 = 0;
/// The longest name of a field that the `http` crate takes; actix-http's decoder panics at a longer one.
const MAX_NAME: usize = (1 << 16) - 1;
/// The longest field that is followed. actix-http gives up a head before that: at 128 KiB, or at what its buffer took along with those.
const MAX_FIELD: usize = 256 << 10;

const CONNECT: &[u8] = b"CONNECT";

/// The part of the stream that the next byte belongs to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Nothing of the next request has come.
    #[default]
    Between,
    /// Line ends have come, which the parser skips; they stop the timer with which it closes an idle connection.
    LineEnds,
    Method,
    Target,
    Version,
    /// Header fields, up to the empty line.
    Fields,
    /// This much of a body of known length.
    Sized(u64),
    Chunked(Chunked),
    /// Behind something that the parser refuses, or where it takes all the rest for one body.
    Unknown,
}

/// The part of a chunked body, as actix-http's decoder (`h1/chunked.rs`) has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunked {
    /// The digits read so far.
    Size(u64),
    /// White space and extensions behind this size.
    AfterSize(u64),
    Data(u64),
    AfterData,
    /// At the first byte of a trailer, or of the end.
    TrailerOrEnd,
    Trailer,
    TrailerLf,
    EndLf,
}

/// One connection's framing.
#[derive(Debug, Default)]
pub struct Framing {
    part: Part,
    /// The beginning of a method or field whose end has not come yet.
    line: Vec<u8>,
    /// What the fields of the present head say so far.
    head: Head,
    /// Complete heads so far.
    heads: u64,
}

/// The fields that decide where a head's body ends.
#[derive(Debug, Default)]
struct Head {
    connect: bool,
    websocket: bool,
    chunked: bool,
    length: u64,
}

impl Framing {
    /// Takes in what came next, and breaks the targets that have a fragment.
    pub fn pass(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.step(rest);
            rest = &mut rest[taken..];
        }
    }

    /// No request has begun that is not complete.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.part, Part::Between | Part::LineEnds)
    }

    /// A head has begun, if only with line ends, and is not complete.
    pub fn is_in_head(&self) -> bool {
        matches!(
            self.part,
            Part::LineEnds | Part::Method | Part::Target | Part::Version | Part::Fields
        )
    }

    /// Complete heads so far.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Takes as many of `bytes`, which are not empty, as belong to the present part; returns how many.
    fn step(&mut self, bytes: &mut [u8]) -> usize {
        let until = |end: fn(&u8) -> bool| bytes.iter().position(end);
        match self.part {
            Part::Between | Part::LineEnds => match until(|byte| !matches!(byte, b'\r' | b'\n')) {
                Some(begin) => self.go(begin, Part::Method),
                None => self.go(bytes.len(), Part::LineEnds),
            },
            Part::Method => match until(|byte| matches!(byte, b' ' | b'\n')) {
                Some(end) if bytes[end] == b' ' => {
                    self.method(&bytes[..end]);
                    self.head.connect = std::mem::take(&mut self.line) == CONNECT;
                    self.go(end + 1, Part::Target)
                }
                Some(end) => self.go(end, Part::Unknown),
                None => {
                    self.method(bytes);
                    bytes.len()
                }
            },
            Part::Target => {
                let end = until(|byte| matches!(byte, b' ' | b'\n'));
                let (target, after) = bytes.split_at_mut(end.unwrap_or(bytes.len()));
                for byte in target.iter_mut().filter(|byte| **byte == b'#') {
                    *byte = REFUSED;
                }
                match after.first() {
                    Some(b' ') => self.go(target.len() + 1, Part::Version),
                    Some(_) => self.go(target.len(), Part::Unknown),
                    None => target.len(),
                }
            }
            Part::Version => match until(|byte| *byte == b'\n') {
                Some(end) => self.go(end + 1, Part::Fields),
                None => bytes.len(),
            },
            Part::Fields => {
                let end = until(|byte| *byte == b'\n');
                let there = end.unwrap_or(bytes.len());
                let piece = &mut bytes[..there];
                if let Some(at) = self.too_long(piece) {
                    piece[at] = REFUSED;
                    self.line = Vec::new();
                    return self.go(at, Part::Unknown);
                }
                match end {
                    Some(end) if self.line.is_empty() => {
                        self.field(piece);
                        end + 1
                    }
                    Some(end) => {
                        let mut line = std::mem::take(&mut self.line);
                        line.extend_from_slice(piece);
                        self.field(&line);
                        end + 1
                    }
                    None => {
                        self.line.extend_from_slice(piece);
                        piece.len()
                    }
                }
            }
            Part::Sized(left) => {
                let taken = left.min(bytes.len() as u64);
                let next = match left - taken {
                    0 => Part::Between,
                    left => Part::Sized(left),
                };
                self.go(taken as usize, next)
            }
            Part::Chunked(Chunked::Data(left)) => {
                let taken = left.min(bytes.len() as u64);
                let next = match left - taken {
                    0 => Chunked::AfterData,
                    left => Chunked::Data(left),
                };
                self.go(taken as usize, Part::Chunked(next))
            }
            Part::Chunked(part) => self.go(1, part.after(bytes[0])),
            Part::Unknown => bytes.len(),
        }
    }

    fn go(&mut self, taken: usize, next: Part) -> usize {
        self.part = next;
        taken
    }

    /// Takes in more of a method: as much as tells whether it is CONNECT.
    fn method(&mut self, piece: &[u8]) {
        let missing = (CONNECT.len() + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..missing.min(piece.len())]);
    }

    /// Where in this piece of a field its name or the whole becomes longer than anything that the parser could take. A field may come
    /// without an end: after its answer actix-http reads on for a while, and throws away what it reads.
    fn too_long(&self, piece: &[u8]) -> Option<usize> {
        let known = self.line.len();
        let first_beyond = |limit: usize| limit.checked_sub(known).filter(|at| *at < piece.len());
        let name_goes_on = |at: &usize| !self.line.contains(&b':') && !piece[..=*at].contains(&b':');
        first_beyond(MAX_NAME)
            .filter(name_goes_on)
            .or_else(|| first_beyond(MAX_FIELD))
    }

    /// Takes in a header field, or the empty line behind the last, without its line end. A bare LF ends a line, too: so the parser has it.
    fn field(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return self.end_head();
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            self.part = Part::Unknown;
            return;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            match std::str::from_utf8(value).map(str::parse) {
                Ok(Ok(length)) => self.head.length = length,
                _ => self.part = Part::Unknown,
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            match value.eq_ignore_ascii_case(b"chunked") {
                true => self.head.chunked = true,
                false => self.part = Part::Unknown,
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.head.websocket |= value.eq_ignore_ascii_case(b"websocket");
        }
    }

    /// Both framings at once, or one of them twice, are refused. After an upgrade to websocket, and after CONNECT without a body, the
    /// parser reads to the end of the connection.
    fn end_head(&mut self) {
        self.part = match std::mem::take(&mut self.head) {
            Head { chunked: true, .. } => Part::Chunked(Chunked::Size(0)),
            Head { websocket: true, .. } => Part::Unknown,
            Head {
                length: length @ 1.., ..
            } => Part::Sized(length),
            Head { connect: true, .. } => Part::Unknown,
            Head { .. } => Part::Between,
        };
        self.heads += 1;
    }
}

impl Chunked {
    /// The part that follows the next byte.
    fn after(self, byte: u8) -> Part {
        Part::Chunked(match (self, byte) {
            (Chunked::Size(0) | Chunked::AfterSize(0), b'\n') => Chunked::TrailerOrEnd,
            (Chunked::Size(size) | Chunked::AfterSize(size), b'\n') => Chunked::Data(size),
            (Chunked::Size(size), byte) => match char::from(byte).to_digit(16) {
                Some(digit) => match size.checked_mul(16) {
                    Some(size) => Chunked::Size(size + u64::from(digit)),
                    None => return Part::Unknown,
                },
                None => Chunked::AfterSize(size),
            },
            (Chunked::AfterData, b'\n') => Chunked::Size(0),
            (Chunked::TrailerOrEnd, b'\r') => Chunked::EndLf,
            (Chunked::TrailerOrEnd, _) => Chunked::Trailer,
            (Chunked::Trailer, b'\r') => Chunked::TrailerLf,
            (Chunked::TrailerLf, b'\n') => Chunked::TrailerOrEnd,
            (Chunked::EndLf, b'\n') => return Part::Between,
            (Chunked::TrailerLf | Chunked::EndLf, _) => return Part::Unknown,
            (unchanged, _) => unchanged,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
