//! A request of the wire as HTTP for its backend.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Uri};

use crate::processor::backend::outcome::BackendError;
use crate::processor::bodies::stream::StreamedBody;
use crate::settings::{BackendUrl, HostHeader};
use crate::wire::correlation::id_text;
use crate::wire::trace_parent::TraceParent;
use crate::wire::{self, Request, headers};

/// A body in memory, or one that is read while it is sent.
pub type Outgoing = Either<Full<Bytes>, StreamedBody>;

/// Where a backend's requests go.
pub struct Target {
    scheme: Scheme,
    authority: Authority,
    base_path: String,
    host: HostHeader,
}

impl Target {
    /// # Errors
    /// The URL is not one (the settings have checked it).
    pub fn new(url: &BackendUrl, host: HostHeader) -> Result<Self, String> {
        let scheme = url.scheme.parse();
        let authority = url.authority.parse();
        Ok(Target {
            scheme: scheme.map_err(|error| format!("backend scheme {}: {error}", url.scheme))?,
            authority: authority.map_err(|error| format!("backend authority {}: {error}", url.authority))?,
            base_path: url.base_path.clone(),
            host,
        })
    }

    /// The request as it is sent. `body`: the one that lies elsewhere; `span`: what calls, of which the backend is told instead of what the
    /// request tells.
    ///
    /// # Errors
    /// It cannot be sent as HTTP.
    pub fn request(
        &self,
        request: &Request,
        body: Option<StreamedBody>,
        span: Option<TraceParent>,
    ) -> Result<hyper::Request<Outgoing>, BackendError> {
        let bad = |error: &dyn std::fmt::Display| BackendError::BadMessage(error.to_string());
        let body = match body {
            Some(body) => Either::Right(body),
            None => Either::Left(Full::new(request.body.clone().unwrap_or_default())),
        };
        let mut outgoing = hyper::Request::new(body);
        *outgoing.method_mut() = Method::from_bytes(request.method.as_bytes()).map_err(|error| bad(&error))?;
        *outgoing.uri_mut() = self.uri(&request.path)?;
        let fields = outgoing.headers_mut();
        for (name, value) in &request.headers {
            if headers::is_of_each_hop(name) {
                continue;
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| bad(&error))?;
            fields.append(
                name,
                HeaderValue::from_maybe_shared(value.clone()).map_err(|error| bad(&error))?,
            );
        }
        if request.body_elsewhere.is_none() && request.body.as_ref().is_some_and(Bytes::is_empty) {
            // Tells an empty body from none; of others the client writes the length itself.
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if self.host == HostHeader::Preserve && !request.authority.is_empty() {
            fields.insert(
                header::HOST,
                HeaderValue::from_str(&request.authority).map_err(|error| bad(&error))?,
            );
        }
        let id = HeaderValue::from_str(&id_text(&request.correlation_id)).map_err(|error| bad(&error))?;
        fields.insert(HeaderName::from_static(headers::KHP_CORRELATION_ID), id);
        if let Some(span) = span {
            // Hexadecimal digits and hyphens are a legal value.
            let value = HeaderValue::from_maybe_shared(Bytes::from(span.to_string()));
            fields.insert(
                HeaderName::from_static(headers::TRACEPARENT),
                value.map_err(|error| bad(&error))?,
            );
        }
        Ok(outgoing)
    }

    /// The record's path below the base path; scheme and authority are never the record's.
    fn uri(&self, path: &str) -> Result<Uri, BackendError> {
        let below_base = path.split('?').next().unwrap_or_default();
        if !self.base_path.is_empty() && wire::path::climbs(below_base) {
            return Err(BackendError::BadMessage("its path leads out of the base path".into()));
        }
        let target = match path {
            "*" => path.to_string(),
            path => format!("{}{path}", self.base_path),
        };
        let path_and_query = PathAndQuery::from_maybe_shared(Bytes::from(target))
            .map_err(|error| BackendError::BadMessage(error.to_string()))?;
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path_and_query)
            .build()
            .map_err(|error| BackendError::BadMessage(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ReplyError;

    fn target(base_path: &str) -> Target {
        let url = BackendUrl {
            scheme: "http".into(),
            authority: "orders:8080".into(),
            base_path: base_path.into(),
        };
        Target::new(&url, HostHeader::Backend).unwrap()
    }

    #[test]
    fn a_path_never_leaves_the_authority() {
        for path in ["/a?b=c", "//evil.example/x", "/@evil.example", "/..//../x", "/a:80@b"] {
            let uri = target("").uri(path).unwrap();
            assert_eq!(
                (
                    uri.authority().unwrap().as_str(),
                    uri.path_and_query().unwrap().as_str()
                ),
                ("orders:8080", path)
            );
        }
        assert_eq!(
            target("/base").uri("/x?y").unwrap().to_string(),
            "http://orders:8080/base/x?y"
        );
        assert_eq!(
            target("/base").uri("*").unwrap().path_and_query().unwrap().as_str(),
            "*"
        );
    }

    #[test]
    fn a_path_never_leaves_the_base_path() {
        for path in ["/../x", "/a/%2e%2e/..%2fx", "/..;/x?y", "/..\\x", "//../x"] {
            let refused = target("/base").uri(path).unwrap_err();
            assert_eq!(refused.reply_error(), ReplyError::BadMessage, "{path}");
            assert!(target("").uri(path).is_ok(), "{path}");
        }
        assert!(target("/base").uri("/a/../b?c=/../../d").is_ok());
    }
}
