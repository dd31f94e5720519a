//! From HTTP to the wire: a client's request as the content of a record.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, Uri, Version};
use bytes::Bytes;

use crate::error::RequestError;
use crate::proxy::connection::peer::Peer;
use crate::proxy::connection::pipeline::Pipeline;
use crate::proxy::routing::routes::Route;
use crate::proxy::trust::Origin;
use crate::wire::{self, CorrelationId, Fields, Request, headers};

/// What this gateway calls itself in `Via` (RFC 9110 7.6.3).
const VIA: &[u8] = b"1.1 actix-khp";
const VIA_HTTP_2: &[u8] = b"2 actix-khp";
/// The longest request id of a client that is passed on, in bytes; a longer one is replaced.
const MAX_REQUEST_ID: usize = 128;

/// A client's own fields of these names, however it writes them, make room for ours.
const ADDED: [&str; 3] = [
    headers::X_FORWARDED_FOR,
    headers::X_REQUEST_ID,
    headers::X_ORIGINAL_METHOD,
];

/// A tunnel or a websocket cannot cross a message queue. Asked before the body is read: the parser takes everything that follows CONNECT
/// for its body. Any other offer to upgrade is passed over, as a server may (RFC 9110 7.8).
pub fn is_tunnel(request: &HttpRequest) -> bool {
    request.method() == Method::CONNECT || request.conn_data().is_some_and(Pipeline::wants_websocket)
}

/// Bytes of target and header fields; the parser alone would take 128 KiB.
pub fn head_size(request: &HttpRequest) -> usize {
    let fields = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    request.uri().path_and_query().map_or(1, |target| target.as_str().len()) + fields.sum::<usize>()
}

/// Bytes of a head that is one of many on its connection. In HTTP/1 there is one, and the number of connections bounds them.
pub fn many_heads(request: &HttpRequest) -> usize {
    match request.version() {
        Version::HTTP_2 => head_size(request),
        _ => 0,
    }
}

/// What a request asks for, which host it asks, and who asks.
pub struct Target<'a> {
    /// Path and query, byte for byte, or `*`.
    path: Cow<'a, str>,
    /// The host that the target names (absolute form, RFC 9112 3.2.2), else that of `Host`; may be empty.
    authority: &'a str,
    origin: Origin,
}

impl<'a> Target<'a> {
    /// Reads request line and `Host` of a request from `origin`.
    ///
    /// # Errors
    /// `BadRequest`: no backend could be asked for this target, or `Host` is not one host.
    pub fn of(request: &'a HttpRequest, origin: Origin) -> Result<Self, RequestError> {
        let (uri, bad) = (request.uri(), RequestError::BadRequest);
        let mut hosts = request.headers().get_all(header::HOST);
        // None, or one that is empty, where there is no host to name.
        let is_sound = |host: &HeaderValue| {
            host.to_str()
                .is_ok_and(|host| host.is_empty() || wire::is_authority(host))
        };
        if !hosts.next().is_none_or(is_sound) || hosts.next().is_some() {
            return Err(bad);
        }
        let authority = match (uri.scheme_str(), uri.authority()) {
            (None, None) => match request.headers().get(header::HOST) {
                Some(host) => host.to_str().map_err(|_| bad)?,
                None => "",
            },
            (Some("http" | "https"), Some(authority)) => authority.as_str(),
            // `GET shop.example`: the parser takes that for an authority with the path "/".
            _ => return Err(bad),
        };
        let path = path_and_query(uri);
        // Not with user and password before it, an attempt to deceive (RFC 9110 4.2.4).
        let names_a_host = authority.is_empty() || wire::is_authority(authority);
        if !names_a_host || wire::check_target(request.method().as_str(), &path).is_err() {
            return Err(bad);
        }
        Ok(Target {
            path,
            authority,
            origin,
        })
    }
}

/// An empty path is `/` (RFC 9110 4.2.3), also before a query.
fn path_and_query(uri: &Uri) -> Cow<'_, str> {
    let given = uri.path_and_query().map_or("/", |target| target.as_str());
    match given.starts_with('?') {
        true => Cow::Owned(format!("/{given}")),
        false => Cow::Borrowed(given),
    }
}

/// The request as it travels, with the gateway's own headers. Who sends it is added by [`Caller`](crate::proxy::auth::Caller). `remaining` is how long the client still waits.
pub fn to_wire(
    request: &HttpRequest,
    target: &Target<'_>,
    route: &Route,
    body: Option<Bytes>,
    id: CorrelationId,
    reply_topic: &str,
    remaining: Duration,
) -> Request {
    let timeout_ms = remaining.as_millis() as i64;
    let peer = Peer::of(request);
    let mut headers = fields(request, id, target, peer.as_deref());
    route.withhold(&mut headers);
    Request {
        correlation_id: Bytes::copy_from_slice(&id.to_bytes()),
        method: request.method().as_str().to_string(),
        path: route.on_wire(&target.path).into_owned(),
        headers,
        authority: target.authority.to_string(),
        scheme: scheme(peer.as_deref()).into(),
        body,
        body_elsewhere: None,
        accepts_stream: None,
        reply_topic: Some(reply_topic.to_string()),
        reply_partition: None,
        deadline_ms: Some(wire::now_ms() + timeout_ms),
        timeout_ms: Some(timeout_ms),
        client_ip: target.origin.client.map(|client| client.to_string()),
        principal: None,
        idempotency: None,
        key: route.key(request.uri(), request.headers()),
    }
}

fn scheme(peer: Option<&Peer>) -> &'static str {
    if peer.is_some() { "https" } else { "http" }
}

fn fields(request: &HttpRequest, id: CorrelationId, target: &Target<'_>, peer: Option<&Peer>) -> Fields {
    let (own, origin) = (request.headers(), &target.origin);
    let connection: Vec<&[u8]> = own.get_all(header::CONNECTION).map(HeaderValue::as_bytes).collect();
    let connection = headers::connection_options(connection);
    let mut fields: Fields = Vec::with_capacity(own.len() + 7);
    for (name, value) in headers::end_to_end(own.iter().map(|(name, value)| (name.as_str(), value)), &connection) {
        let passes_for = |known: &&str| headers::passes_for(name.as_bytes(), known);
        // These are added below.
        let is_ours = ADDED.iter().any(passes_for) || (passes_for(&headers::X_FORWARDED_CLIENT_CERT) && peer.is_some());
        if !is_ours && !headers::is_of_each_hop(name) && (origin.is_trusted || !headers::is_about_client(name)) {
            fields.push((name.to_string().into(), Bytes::copy_from_slice(value.as_bytes())));
        }
    }
    let mut add = |name: &'static str, value: Bytes| fields.push((name.into(), value));
    let is_http_2 = request.version() == Version::HTTP_2;
    add(
        headers::VIA,
        Bytes::from_static(if is_http_2 { VIA_HTTP_2 } else { VIA }),
    );
    if let Some(forwarded) = forwarded_for(own, origin) {
        add(headers::X_FORWARDED_FOR, forwarded);
    }
    let is_kept = |name: &str| origin.is_trusted && own.contains_key(name);
    if is_kept(headers::FORWARDED)
        && let Some(peer) = origin.peer
    {
        add(headers::FORWARDED, forwarded_element(peer));
    }
    if !is_kept(headers::X_REAL_IP)
        && let Some(client) = origin.client
    {
        add(headers::X_REAL_IP, client.to_string().into());
    }
    if !is_kept(headers::X_FORWARDED_PROTO) {
        add(headers::X_FORWARDED_PROTO, Bytes::from_static(scheme(peer).as_bytes()));
    }
    if !is_kept(headers::X_FORWARDED_HOST) && !target.authority.is_empty() {
        add(
            headers::X_FORWARDED_HOST,
            Bytes::copy_from_slice(target.authority.as_bytes()),
        );
    }
    if let Some(certificate) = peer.and_then(|peer| peer.certificate.as_ref()) {
        add(headers::X_FORWARDED_CLIENT_CERT, certificate.forwarded.clone());
    }
    add(
        headers::X_ORIGINAL_METHOD,
        Bytes::copy_from_slice(request.method().as_str().as_bytes()),
    );
    add(
        headers::X_REQUEST_ID,
        request_id(own).map_or_else(
            || Bytes::from(id.to_string()),
            |id| Bytes::copy_from_slice(id.as_bytes()),
        ),
    );
    fields
}

/// The client's own id of its request, where it is one that is passed on.
pub fn request_id(fields: &HeaderMap) -> Option<&str> {
    let id = fields.get(headers::X_REQUEST_ID)?.to_str().ok()?;
    (id.len() <= MAX_REQUEST_ID && headers::name_is_legal(id)).then_some(id)
}

/// The addresses that the request has passed, in one line; the one that it came to us from is the last. Only a trusted peer knows earlier
/// ones.
fn forwarded_for(own: &HeaderMap, origin: &Origin) -> Option<Bytes> {
    let earlier = own.get_all(headers::X_FORWARDED_FOR).filter(|_| origin.is_trusted);
    let peer = origin.peer.map(|peer| peer.to_string());
    let all: Vec<&[u8]> = earlier
        .map(HeaderValue::as_bytes)
        .chain(peer.as_deref().map(str::as_bytes))
        .collect();
    (!all.is_empty()).then(|| Bytes::from(all.join(&b", "[..])))
}

/// One hop of `Forwarded`; an address of IPv6 is quoted (RFC 7239 6).
fn forwarded_element(peer: IpAddr) -> Bytes {
    match peer {
        IpAddr::V4(peer) => format!("for={peer}").into(),
        IpAddr::V6(peer) => format!("for=\"[{peer}]\"").into(),
    }
}
