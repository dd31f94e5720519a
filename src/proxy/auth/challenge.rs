//! What a client that proves nothing is told (RFC 9110 11.6.1, RFC 6750 3).

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};

use crate::error::{RequestError, Unproven};
use crate::proxy::auth::Demands;
use crate::settings::AuthMethod;

impl Demands {
    /// Adds to an error what would prove who asks.
    pub fn challenge(&self, error: RequestError, response: &mut HttpResponse) {
        let of_token = match error {
            RequestError::Unauthenticated(Unproven::NoCredentials | Unproven::UnknownKey) => String::new(),
            RequestError::Unauthenticated(
                why @ (Unproven::ExpiredToken | Unproven::EndlessToken | Unproven::EarlyToken),
            ) => format!(r#", error="invalid_token", error_description="{why}""#),
            RequestError::Unauthenticated(_) => r#", error="invalid_token""#.to_owned(),
            RequestError::Forbidden => r#", error="insufficient_scope""#.to_owned(),
            _ => return,
        };
        for method in &self.methods {
            let challenge = match method {
                AuthMethod::Jwt => format!(r#"Bearer realm="actix-khp"{of_token}"#),
                AuthMethod::ApiKey => r#"ApiKey realm="actix-khp""#.to_owned(),
                AuthMethod::ClientCertificate => r#"ClientCertificate realm="actix-khp""#.to_owned(),
                AuthMethod::None => continue,
            };
            // Err: not with these texts.
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                response.headers_mut().append(WWW_AUTHENTICATE, challenge);
            }
        }
    }
}
