//! Rules about who is let in: TLS, the proof of who asks, and the files that both need.

use crate::process::tls::{ServerTls, TlsFile};
use crate::settings::fault::Report;
use crate::settings::keys::{self, Key, route, top};
use crate::settings::model::{Auth, AuthMethod, JwksSource, Settings};
use crate::wire;

/// A certificate that expires within this time is warned about, in seconds.
const EXPIRES_SOON: i64 = 7 * 24 * 3600;

/// Checks TLS and who may ask, by reading the files of TLS.
pub fn validate(settings: &Settings, report: &mut Report) {
    if let Some(tls) = &settings.proxy.tls {
        server_tls(tls, report);
    }
    let proxy = &settings.proxy;
    methods(settings, top::AUTH_METHODS.name, &proxy.auth.methods, report);
    for (index, each) in proxy.routes.iter().enumerate() {
        let path = |key: &Key| keys::of_route(index, key);
        // What is wrong with the proxy's own is said there.
        if each.auth != proxy.auth.methods {
            methods(settings, &path(&route::AUTH), &each.auth, report);
        }
        let useless = !each.required_claims.is_empty() && !each.auth.contains(&AuthMethod::Jwt);
        report.rule(!useless, &[&path(&route::REQUIRED_CLAIMS), &path(&route::AUTH)], || {
            "concerns tokens, and this route takes none".to_owned()
        });
    }
    tokens(&proxy.auth, report);
}

/// Each method has what it needs.
fn methods(settings: &Settings, name: &str, methods: &[AuthMethod], report: &mut Report) {
    let auth = &settings.proxy.auth;
    report.rule(!methods.is_empty(), &[name], || "is empty; none asks nobody".to_owned());
    report.rule(
        methods.len() < 2 || !methods.contains(&AuthMethod::None),
        &[name],
        || "has none beside others; none stands alone".to_owned(),
    );
    let asks_clients = settings.proxy.tls.as_ref().is_some_and(ServerTls::asks_clients);
    for (method, needed, is_there) in [
        (AuthMethod::ApiKey, top::AUTH_API_KEYS.name, !auth.api_keys.is_empty()),
        (AuthMethod::Jwt, top::AUTH_JWKS.name, auth.jwks.is_some()),
        (AuthMethod::ClientCertificate, top::TLS_CLIENT_CA.name, asks_clients),
    ] {
        let sound = is_there || !methods.contains(&method);
        report.rule(sound, &[name, needed], || {
            format!("has {}, which needs {needed}", method.as_str())
        });
    }
}

fn tokens(auth: &Auth, report: &mut Report) {
    let Some(source) = &auth.jwks else {
        let useless = !auth.required_claims.is_empty();
        report.rule(!useless, &[top::AUTH_REQUIRED_CLAIMS.name], || {
            format!("concerns tokens, which need {}", top::AUTH_JWKS.name)
        });
        return;
    };
    let jwks = top::AUTH_JWKS.name;
    match source {
        JwksSource::File(path) => {
            if let Err(error) = std::fs::File::open(path) {
                report.fault(jwks, format!("{}: {error}", path.display()), None);
            }
        }
        JwksSource::Url(url) if url.starts_with("http://") => report.warnings.push(format!(
            "{jwks} is fetched without TLS: who can change it on its way can make tokens"
        )),
        JwksSource::Url(_) => {}
    }
    report.rule(!auth.algorithms.is_empty(), &[top::AUTH_ALGORITHMS.name], || {
        "is empty, and no token could be signed".to_owned()
    });
    if auth.audience.is_empty() {
        report.warnings.push(format!(
            "without {} a token that was issued for another service is good here",
            top::AUTH_AUDIENCE.name
        ));
    }
}

fn server_tls(tls: &ServerTls, report: &mut Report) {
    let (cert, key) = (top::TLS_CERT.name, top::TLS_KEY.name);
    let (client_ca, client_auth) = (top::TLS_CLIENT_CA.name, top::TLS_CLIENT_AUTH.name);
    let before = report.faults.len();
    report.rule(!tls.cert.as_os_str().is_empty(), &[cert], || {
        "is required for TLS".to_owned()
    });
    report.rule(!tls.key.as_os_str().is_empty(), &[key], || {
        "is required for TLS".to_owned()
    });
    report.rule(
        tls.client_ca.is_some() || !tls.asks_clients(),
        &[client_ca, client_auth],
        || format!("is required where {client_auth} is {}", tls.client_auth.as_str()),
    );
    report.rule(
        tls.client_ca.is_none() || tls.asks_clients(),
        &[client_auth, client_ca],
        || {
            format!(
                "{:?} makes {client_ca} useless; remove one of them",
                tls.client_auth.as_str()
            )
        },
    );
    let names = [cert, key, client_ca, client_auth];
    if report.faults.len() > before || names.iter().any(|name| report.is_at_fault(name)) {
        return;
    }
    let files = tls.read().and_then(|files| tls.server_config(&files).map(|_| files));
    match files {
        Ok(files) => {
            let left = files.expires().map(|expires| expires - wire::now_ms() / 1000);
            let days = left.unwrap_or(i64::MAX).div_euclid(24 * 3600);
            match left {
                Some(..=0) => report
                    .warnings
                    .push(format!("{cert}: the certificate has expired; clients will refuse it")),
                Some(..EXPIRES_SOON) => report
                    .warnings
                    .push(format!("{cert}: the certificate expires in {days} days")),
                _ => {}
            }
        }
        Err(fault) => {
            let name = match fault.file {
                TlsFile::Cert => cert,
                TlsFile::Key => key,
                TlsFile::ClientCa => client_ca,
            };
            report.fault(name, fault.problem, None);
        }
    }
}
