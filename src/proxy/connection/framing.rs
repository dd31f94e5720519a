//! Where requests begin and end on a connection, followed just far enough to change what the HTTP parser would misread, and to stop at
//! the end of each request.
//!
//! The `http` crate cuts a fragment off a target silently, and `DELETE /orders/#7` would delete all orders. RFC 9112 3.2 forbids
//! fragments there, so each `#` in a target becomes a byte that the parser refuses. Bodies pass untouched, whatever they look like, so
//! they are told from targets exactly as the parser does it. What the parser refuses anyway needs no care: it reads nothing more of
//! that connection.
//!
//! An offer to upgrade is hidden from the parser, which would read or close the connection otherwise than HTTP/1.1 does. A bare LF
//! in a trailer is refused.

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
    /// Behind a bare LF in the trailers.
    BareLf,
}

/// One connection's framing.
#[derive(Debug, Default)]
pub struct Framing {
    part: Part,
    /// How far the present method agrees with CONNECT; `None`: it is another.
    connect: Option<usize>,
    /// How much of the present field is known to hold no line end.
    searched: usize,
    /// What the lines of the present head say so far.
    head: Head,
    /// Complete heads so far.
    heads: u64,
    /// The last complete head asks for a websocket.
    wants_websocket: bool,
}

/// What a head says of its body, and of another protocol.
#[derive(Debug, Default)]
struct Head {
    connect: bool,
    /// The last digit of the version.
    minor: u8,
    chunked: bool,
    length: u64,
    /// `Connection` lists `upgrade`.
    upgrade: bool,
    /// `Upgrade` lists `websocket`.
    websocket: bool,
}

impl Framing {
    /// Takes in what came next, as far as it may go on to the parser, and changes what the parser would misread. Returns how many bytes
    /// may go on. The rest begins a field that is not complete, or the next request: it is to be given again, with what follows it.
    pub fn pass(&mut self, bytes: &mut [u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() {
            let Some(taken) = self.step(&mut bytes[passed..]) else {
                break;
            };
            passed += taken;
            if self.part == Part::Between {
                break;
            }
        }
        passed
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

    /// The last complete head asks to go on as a websocket (RFC 6455 4.1). Other offers are passed over, and so is one in HTTP/1.0 or
    /// without `Connection: upgrade` (RFC 9110 7.8).
    pub fn wants_websocket(&self) -> bool {
        self.wants_websocket
    }

    /// Takes as many of `bytes`, which are not empty, as belong to the present part; returns how many. `None`: its end is to come first.
    fn step(&mut self, bytes: &mut [u8]) -> Option<usize> {
        let until = |end: fn(&u8) -> bool| bytes.iter().position(end);
        let taken = match self.part {
            Part::Between | Part::LineEnds => match until(|byte| !matches!(byte, b'\r' | b'\n')) {
                Some(begin) => {
                    self.connect = Some(0);
                    self.go(begin, Part::Method)
                }
                None => self.go(bytes.len(), Part::LineEnds),
            },
            Part::Method => match until(|byte| matches!(byte, b' ' | b'\n')) {
                Some(end) if bytes[end] == b' ' => {
                    self.method(&bytes[..end]);
                    self.head.connect = self.connect == Some(CONNECT.len());
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
            Part::Version => {
                let end = until(|byte| *byte == b'\n');
                let piece = bytes[..end.unwrap_or(bytes.len())].trim_ascii_end();
                self.head.minor = piece.last().copied().unwrap_or(self.head.minor);
                match end {
                    Some(end) => self.go(end + 1, Part::Fields),
                    None => bytes.len(),
                }
            }
            Part::Fields => return self.line(bytes),
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
            Part::Chunked(part) => {
                let next = part.after(&mut bytes[0]);
                self.go(1, next)
            }
            Part::Unknown => bytes.len(),
        };
        Some(taken)
    }

    fn go(&mut self, taken: usize, next: Part) -> usize {
        self.part = next;
        taken
    }

    /// Takes in more of a method.
    fn method(&mut self, piece: &[u8]) {
        let agrees = |known: &usize| CONNECT[*known..].starts_with(piece);
        self.connect = self.connect.filter(agrees).map(|known| known + piece.len());
    }

    /// Takes the next line of a head's fields once it is complete. A bare LF ends a line, too: so the parser has it.
    fn line(&mut self, bytes: &mut [u8]) -> Option<usize> {
        let end = bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let end = end.map(|end| self.searched + end);
        let length = end.unwrap_or(bytes.len());
        let line = &mut bytes[..length];
        self.searched = 0;
        if let Some(at) = too_long(line) {
            line[at] = REFUSED;
            return Some(self.go(at, Part::Unknown));
        }
        let Some(end) = end else {
            self.searched = line.len();
            return None;
        };
        match line.strip_suffix(b"\r").unwrap_or(line).len() {
            0 => self.end_head(),
            length => self.field(&mut line[..length]),
        }
        Some(end + 1)
    }

    /// Takes in a header field, and hides from the parser what it would misread: it takes everything behind `Upgrade: websocket` for one
    /// body, and closes after `Connection: upgrade` without a word.
    fn field(&mut self, line: &mut [u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            self.part = Part::Unknown;
            return;
        };
        let (name, value) = line.split_at_mut(colon);
        let value = &mut value[1..];
        if name.eq_ignore_ascii_case(b"content-length") {
            match std::str::from_utf8(value.trim_ascii()).map(str::parse) {
                Ok(Ok(length)) => self.head.length = length,
                _ => self.part = Part::Unknown,
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            match value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                true => self.head.chunked = true,
                false => self.part = Part::Unknown,
            }
        } else if name.eq_ignore_ascii_case(b"connection") {
            let options = value.split_mut(|byte| *byte == b',');
            for option in options.filter(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade")) {
                option.fill(b' ');
                self.head.upgrade = true;
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.head.websocket |= value.split(|byte| *byte == b',').any(is_websocket);
            value.fill(b' ');
        }
    }

    /// Both framings at once, or one of them twice, are refused. After CONNECT without a body the parser reads to the end of the
    /// connection.
    fn end_head(&mut self) {
        let head = std::mem::take(&mut self.head);
        self.part = match head {
            Head { chunked: true, .. } => Part::Chunked(Chunked::Size(0)),
            Head {
                length: length @ 1.., ..
            } => Part::Sized(length),
            Head { connect: true, .. } => Part::Unknown,
            Head { .. } => Part::Between,
        };
        self.wants_websocket = head.upgrade && head.websocket && head.minor == b'1';
        self.heads += 1;
    }
}

/// One protocol of `Upgrade`, with or without a version.
fn is_websocket(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next();
    name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// Where a field, or its name, becomes longer than anything that the parser could take. It may come without an end: after its answer
/// actix-http reads on for a while, and throws away what it reads.
fn too_long(field: &[u8]) -> Option<usize> {
    let name_goes_on = |at: &usize| *at < field.len() && !field[..=*at].contains(&b':');
    let is_there = |at: &usize| *at < field.len();
    let name = Some(MAX_NAME).filter(name_goes_on);
    name.or(Some(MAX_FIELD).filter(is_there))
}

impl Chunked {
    /// The part that follows the next byte.
    fn after(self, byte: &mut u8) -> Part {
        Part::Chunked(match (self, *byte) {
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
            (Chunked::Trailer, b'\r') => Chunked::TrailerLf,
            // The parser takes a trailer up to CRLF, others up to LF: to them the next request would begin here. The parser refuses a
            // CR without LF.
            (Chunked::TrailerOrEnd | Chunked::Trailer, b'\n') => {
                *byte = b'\r';
                Chunked::BareLf
            }
            (Chunked::TrailerOrEnd, _) => Chunked::Trailer,
            (Chunked::TrailerLf, b'\n') => Chunked::TrailerOrEnd,
            (Chunked::EndLf, b'\n') => return Part::Between,
            (Chunked::TrailerLf | Chunked::EndLf, _) => return Part::Unknown,
            (Chunked::BareLf, _) => {
                *byte = REFUSED;
                return Part::Unknown;
            }
            (unchanged, _) => unchanged,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
