//! An HTTP message as it arrived.

/// Header fields in the order in which they arrived, with their names as received.
pub type Fields = Vec<(String, Vec<u8>)>;

/// Headers and body of a request or a response.
#[derive(Debug, Clone)]
pub struct Message {
    pub headers: Fields,
    pub body: Vec<u8>,
}

impl Message {
    /// The values of a header, in order, as bytes.
    pub fn all_bytes(&self, name: &str) -> Vec<&[u8]> {
        named(&self.headers, name).collect()
    }

    /// The values of a header, in order, as text.
    pub fn all(&self, name: &str) -> Vec<String> {
        values(&self.headers, name)
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn named<'a>(fields: &'a Fields, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let of_name = fields.iter().filter(move |(given, _)| given.eq_ignore_ascii_case(name));
    of_name.map(|(_, value)| value.as_slice())
}

/// The values of a header, in order, as text.
pub fn values(fields: &Fields, name: &str) -> Vec<String> {
    named(fields, name)
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

/// The length of a message's body, as its headers announce it.
pub enum BodyLength {
    Chunked,
    /// The value of Content-Length.
    Sized(String),
    /// Neither header is there.
    Unknown,
}

/// Reads the framing headers of a message.
pub fn body_length(fields: &Fields) -> BodyLength {
    let codings = values(fields, "transfer-encoding");
    if codings.iter().any(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return BodyLength::Chunked;
    }
    match values(fields, "content-length").into_iter().next() {
        Some(length) => BodyLength::Sized(length),
        None => BodyLength::Unknown,
    }
}

/// Splits a line `name: value`; `None` where it has no colon.
pub fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8_lossy(&line[..colon]).into_owned();
    Some((name, line[colon + 1..].trim_ascii().to_vec()))
}

/// Appends a line `name: value` to the bytes of a message.
pub fn write_field(wire: &mut Vec<u8>, name: &str, value: &[u8]) {
    wire.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
}
