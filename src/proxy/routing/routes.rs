//! Which requests the proxy takes, and where each goes: the configured routes, the first that matches.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use actix_router::{Path, ResourceDef};
use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, Uri};
use bytes::Bytes;
use globset::GlobSet;
use percent_encoding::percent_decode_str;

use crate::error::RequestError;
use crate::kafka::topic_name::globs;
use crate::proxy::auth::Demands;
use crate::proxy::idempotency::Terms;
use crate::proxy::results::places::Later;
use crate::proxy::routing::topics::KnownTopic;
use crate::proxy::stream::places::StreamTerms;
use crate::settings::{self, RecordKey};
use crate::wire::{Fields, Format, path};

/// Never empty: without configured routes, one that takes everything.
pub struct Routes(Vec<Route>);

/// Where some requests go.
pub struct Route {
    /// `None`: every path, and the `*` of OPTIONS.
    pattern: Option<ResourceDef>,
    /// Empty = any.
    methods: Vec<String>,
    pub request_topic: Arc<KnownTopic>,
    pub reply_topic: Arc<KnownTopic>,
    pub timeout: Duration,
    pub wire_format: Format,
    /// Which of its requests run once.
    pub idempotency: Terms,
    /// Whether and how its answers come in pieces.
    pub streams: Arc<StreamTerms>,
    /// How its requests are accepted, their answers fetched later; `None`: their clients wait.
    pub later: Option<Later>,
    /// What proves who asks.
    pub demands: Demands,
    key: Option<RecordKey>,
    /// Names of header fields that never go into Kafka.
    withheld: GlobSet,
    /// Bytes that are cut off the beginning of each path: the length of `strip_prefix`. A slash or nothing follows them.
    stripped: usize,
}

impl Routes {
    /// The routes that the settings name; `None` if `configured` does not know their topics.
    pub fn new(proxy: &settings::Proxy, configured: impl Fn(&str) -> Option<Arc<KnownTopic>>) -> Option<Self> {
        let route = |route: &settings::Route| {
            Some(Route {
                // Panics at a bad pattern; the settings let none through.
                pattern: Some(ResourceDef::new(route.path.as_str())),
                methods: route.methods.clone(),
                request_topic: configured(&route.request_topic)?,
                reply_topic: configured(&route.response_topic)?,
                timeout: route.timeout,
                wire_format: route.wire_format,
                idempotency: Terms::new(&route.idempotency, &route.path),
                streams: Arc::new(StreamTerms::new(&route.streams, route.wire_format)),
                later: Later::new(&route.later, &route.request_topic),
                demands: Demands::new(&route.auth, &route.required_claims),
                key: route.key.clone(),
                withheld: globs(&route.withhold_headers),
                stripped: route.strip_prefix.as_ref().map_or(0, String::len),
            })
        };
        if !proxy.routes.is_empty() {
            return proxy.routes.iter().map(route).collect::<Option<_>>().map(Routes);
        }
        Some(Routes(vec![Route {
            pattern: None,
            methods: Vec::new(),
            request_topic: configured(&proxy.request_topic)?,
            reply_topic: configured(&proxy.response_topic)?,
            timeout: proxy.default_timeout,
            wire_format: proxy.wire_format,
            idempotency: Terms::new(&proxy.idempotency, ""),
            streams: Arc::new(StreamTerms::new(&proxy.streams, proxy.wire_format)),
            later: Later::new(&proxy.later, &proxy.request_topic),
            demands: Demands::new(&proxy.auth.methods, &[]),
            key: None,
            withheld: globs(&proxy.withhold_headers),
            stripped: 0,
        }]))
    }

    /// The route that takes a request.
    ///
    /// # Errors
    /// `NoRoute`: no route has this path. `MethodNotAllowed`: some have this path, and none of them this method. `BadRequest`: dot
    /// segments lead out of the route.
    pub fn find(&self, method: &Method, path: &str) -> Result<&Route, RequestError> {
        let route = self.first(method, path)?;
        match route.pattern.is_some() && path::has_dots(path) && self.is_left(route, method, path) {
            true => Err(RequestError::BadRequest),
            false => Ok(route),
        }
    }

    /// Whether some server would read the path as another route's, or as none below the prefix that is cut off.
    fn is_left(&self, route: &Route, method: &Method, path: &str) -> bool {
        let is_other = |merges_slashes: bool| {
            let there = self.first(method, &path::resolved(path, merges_slashes));
            !there.is_ok_and(|there| std::ptr::eq(there, route))
        };
        path.get(route.stripped..).is_some_and(path::climbs) || is_other(false) || is_other(true)
    }

    fn first(&self, method: &Method, path: &str) -> Result<&Route, RequestError> {
        let mut with_path = self.with_path(path).peekable();
        with_path.peek().ok_or(RequestError::NoRoute)?;
        with_path
            .find(|route| route.methods.is_empty() || route.methods.iter().any(|taken| taken == method.as_str()))
            .ok_or(RequestError::MethodNotAllowed)
    }

    /// The methods that `path` takes, as `Allow` lists them (RFC 9110 10.2.1).
    pub fn allow(&self, path: &str) -> String {
        let mut methods: Vec<&str> = Vec::new();
        for method in self.with_path(path).flat_map(|route| &route.methods) {
            if !methods.contains(&method.as_str()) {
                methods.push(method);
            }
        }
        methods.join(", ")
    }

    fn with_path(&self, path: &str) -> impl Iterator<Item = &Route> {
        self.0.iter().filter(move |route| match &route.pattern {
            Some(pattern) => pattern.is_match(path),
            None => true,
        })
    }
}

impl Route {
    /// A target (path and query) of this route as it goes on the wire: without the prefix, and otherwise byte for byte.
    pub fn on_wire<'a>(&self, target: &'a str) -> Cow<'a, str> {
        match target.get(self.stripped..) {
            Some(rest) if self.stripped == 0 || rest.starts_with('/') => Cow::Borrowed(rest),
            // Nothing is left of the path, whether or not a query follows.
            Some(rest) => Cow::Owned(format!("/{rest}")),
            None => Cow::Borrowed(target),
        }
    }

    /// Takes out what must not go into Kafka.
    pub fn withhold(&self, fields: &mut Fields) {
        if !self.withheld.is_empty() {
            fields.retain(|(name, _)| !self.withheld.is_match(&**name));
        }
    }

    /// The key of a request's record: the same one for the same value, however a client encodes it.
    pub fn key(&self, uri: &Uri, headers: &HeaderMap) -> Option<Bytes> {
        let key = match self.key.as_ref()? {
            RecordKey::Header(name) => Bytes::copy_from_slice(headers.get(name)?.as_bytes()),
            RecordKey::Query(name) => query_value(uri.query()?, name)?,
            RecordKey::Segment(name) => {
                // Its positions are u16, and no Uri is longer.
                let mut path = Path::new(uri.path());
                self.pattern.as_ref()?.capture_match_info(&mut path);
                decoded(path.get(name)?)
            }
        };
        (!key.is_empty()).then_some(key)
    }
}

/// The value of the first parameter of this name.
fn query_value(query: &str, wanted: &str) -> Option<Bytes> {
    let mut parameters = query.split('&').map(|each| each.split_once('=').unwrap_or((each, "")));
    let is_wanted = |name: &str| percent_decode_str(name).eq(wanted.bytes());
    parameters
        .find(|(name, _)| is_wanted(name))
        .map(|(_, value)| decoded(value))
}

fn decoded(text: &str) -> Bytes {
    percent_decode_str(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::metrics::ProxyMetrics;
    use crate::proxy::routing::topics::KnownTopics;
    use crate::settings::{Mode, load};
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn routes(yaml: &str) -> Routes {
        let file = std::env::temp_dir().join(format!("khp-routes-{}.yaml", rand::random::<u64>()));
        std::fs::write(&file, yaml).unwrap();
        let settings = load(Mode::Proxy, std::slice::from_ref(&file), &Default::default());
        std::fs::remove_file(&file).unwrap();
        let settings = settings.unwrap_or_else(|error| panic!("{error}")).settings;
        let metrics = ProxyMetrics::register(&prometheus::Registry::new()).unwrap();
        let topics = KnownTopics::new(&settings.proxy, &settings.create_topics, None, metrics);
        Routes::new(&settings.proxy, |name| topics.configured(name)).unwrap()
    }

    fn topic<'a>(routes: &'a Routes, method: &str, path: &str) -> Result<&'a str, RequestError> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        routes.find(&method, path).map(|route| &*route.request_topic.name)
    }

    #[test]
    fn without_routes_everything_goes_to_the_default_topic() {
        let routes = routes("request_topic: all");
        for (method, path) in [("GET", "/"), ("PURGE", "//a/../b%2f"), ("OPTIONS", "*")] {
            assert_eq!(topic(&routes, method, path), Ok("all"));
        }
    }

    #[test]
    fn the_first_route_with_path_and_method_wins() {
        let routes = routes(
            "
routes:
  - {path: '/orders/{id}', methods: [GET, HEAD], request_topic: read}
  - {path: '/orders/{id}', methods: [PUT, GET], request_topic: write}
  - {path: '/files/{tail}*', request_topic: files}
  - {path: /orders, methods: [POST], request_topic: write}
",
        );
        for (method, path, expected) in [
            ("GET", "/orders/7", Ok("read")),
            ("PUT", "/orders/7", Ok("write")),
            ("POST", "/orders", Ok("write")),
            ("PURGE", "/files/a/b//../c", Ok("files")),
            ("GET", "/files/", Ok("files")),
            ("GET", "/orders/a%2Fb", Ok("read")),
            ("DELETE", "/orders/7", Err(RequestError::MethodNotAllowed)),
            ("get", "/orders/7", Err(RequestError::MethodNotAllowed)),
            ("GET", "/orders", Err(RequestError::MethodNotAllowed)),
            ("GET", "/orders/", Err(RequestError::NoRoute)),
            ("GET", "/orders/7/lines", Err(RequestError::NoRoute)),
            ("GET", "/%6Frders/7", Err(RequestError::NoRoute)),
            ("GET", "/files", Err(RequestError::NoRoute)),
            ("OPTIONS", "*", Err(RequestError::NoRoute)),
        ] {
            assert_eq!(topic(&routes, method, path), expected, "{method} {path}");
        }
        assert_eq!(routes.allow("/orders/7"), "GET, HEAD, PUT");
        assert_eq!(routes.allow("/orders"), "POST");
    }

    #[test]
    fn dot_segments_lead_out_of_no_route() {
        let routes = routes(
            "
routes:
  - {path: '/api/admin/{tail}*', request_topic: admin}
  - {path: '/api/{tail}*', strip_prefix: /api, request_topic: api}
  - {path: '/orders/{id}', request_topic: orders}
",
        );
        for path in [
            "/api/../x",
            "/api/x/../admin/y",
            "/api/x/..//admin/y",
            "/api/./admin/y",
            "/api/%2e%2e/x",
            "/api/..%2fx",
            "/api/x%2f..%5c..%2fy",
            "/api/..;/x",
            "/api/..\\x",
            "/api/x/../../api/y",
            "/api/admin/../y",
            "/orders/..",
            "/orders/..%2fapi",
            "/orders/.",
        ] {
            assert_eq!(topic(&routes, "GET", path), Err(RequestError::BadRequest), "{path}");
        }
        for (path, expected) in [
            ("/api/a/../b", "api"),
            ("/api/a/./b/", "api"),
            ("/api/...", "api"),
            ("/api/admin/a/../b", "admin"),
            ("/orders/..7", "orders"),
        ] {
            assert_eq!(topic(&routes, "GET", path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_prefix_is_cut_off_and_nothing_else_changes() {
        let routes = routes("routes: [{path: '/api/{tail}*', strip_prefix: /api}, {path: /api, strip_prefix: /api}]");
        for (target, path, expected) in [
            ("/api/orders/%37?a=%20&&b", "/api/orders/%37", "/orders/%37?a=%20&&b"),
            ("/api//x/../y/", "/api//x/../y/", "//x/../y/"),
            ("/api/", "/api/", "/"),
            ("/api", "/api", "/"),
            ("/api?x=/", "/api", "/?x=/"),
        ] {
            let route = routes.find(&Method::GET, path).unwrap();
            assert_eq!(route.on_wire(target), expected);
        }
    }

    #[test]
    fn a_key_is_the_same_however_it_is_encoded() {
        let key = |key: &str, target: &str| {
            let routes = routes(&format!("routes: [{{path: '/a/{{id}}/{{tail}}*', key: '{key}'}}]"));
            let uri: Uri = target.parse().unwrap();
            let mut headers = HeaderMap::new();
            headers.append(HeaderName::from_static("x-id"), HeaderValue::from_static("one"));
            headers.append(HeaderName::from_static("x-id"), HeaderValue::from_static("two"));
            headers.append(HeaderName::from_static("x-empty"), HeaderValue::from_static(""));
            let route = routes.find(&Method::GET, uri.path()).unwrap();
            let key = route.key(&uri, &headers);
            key.map(|key| String::from_utf8_lossy(&key).into_owned())
        };
        for (from, target, expected) in [
            ("segment:id", "/a/7/x", Some("7")),
            ("segment:id", "/a/%37/x?id=8", Some("7")),
            ("segment:id", "/a/b%2Fc/x", Some("b/c")),
            ("segment:tail", "/a/7/x/y", Some("x/y")),
            ("segment:tail", "/a/7/", None),
            ("query:id", "/a/7/?x&id=9&id=8", Some("9")),
            ("query:id", "/a/7/?%69d=a%20b+c", Some("a b+c")),
            ("query:id", "/a/7/?id", None),
            ("query:id", "/a/7/?ids=1", None),
            ("query:id", "/a/7/", None),
            ("header:X-ID", "/a/7/", Some("one")),
            ("header:x-empty", "/a/7/", None),
            ("header:x-other", "/a/7/", None),
        ] {
            assert_eq!(key(from, target).as_deref(), expected, "{from} {target}");
        }
        let longest = "x".repeat(usize::from(u16::MAX) - 1 - "/a/7/".len());
        assert_eq!(key("segment:tail", &format!("/a/7/{longest}")), Some(longest));
    }
}
