//! Rules about who is let in: TLS, and the files that it needs.

use crate::process::tls::{ServerTls, TlsFile};
use crate::settings::fault::Report;
use crate::settings::keys::top;
use crate::settings::model::Settings;
use crate::wire;

/// A certificate that expires within this time is warned about, in seconds.
const EXPIRES_SOON: i64 = 7 * 24 * 3600;

/// Checks TLS, by reading its files.
pub fn validate(settings: &Settings, report: &mut Report) {
    if let Some(tls) = &settings.proxy.tls {
        server_tls(tls, report);
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
