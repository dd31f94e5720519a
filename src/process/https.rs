//! How this program opens HTTPS connections as a client: whom it trusts, and who it is to the server.

use std::net::IpAddr;
use std::time::Duration;

use hyper_openssl::client::legacy::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{ConnectConfiguration, SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

/// A TCP or TLS connection that is not up by then counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens plain and TLS connections.
pub type Https = HttpsConnector<HttpConnector>;

/// Whom a client trusts, and who it is to the server. Settings fill it in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// A file of certificates, in PEM, that are trusted instead of the system's.
    pub ca: Option<String>,
    /// A file with our certificate and its chain, in PEM. Never without `key`.
    pub cert: Option<String>,
    /// A file with our certificate's key, in PEM, without a password.
    pub key: Option<String>,
    /// The name that the server's certificate must have, and that it is asked for (SNI). `None`: the URL's host.
    pub server_name: Option<String>,
    /// Check the server's certificate?
    pub verify: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            ca: None,
            cert: None,
            key: None,
            server_name: None,
            verify: true,
        }
    }
}

/// A connector. Its clones share one TLS context. Blocks while the files are read.
///
/// # Errors
/// A file cannot be used, or TLS cannot be set up; the text names the file.
pub fn connector(tls: &Tls) -> Result<Https, String> {
    let failed = |error: ErrorStack| format!("TLS cannot be set up: {error}");
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let mut builder = SslConnector::builder(SslMethod::tls()).map_err(failed)?;
    match &tls.ca {
        Some(file) => trust_only(&mut builder, file)?,
        None => trust_system(&mut builder),
    }
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        present(&mut builder, cert, key)?;
    }
    let verify = tls.verify;
    if !verify {
        builder.set_verify(SslVerifyMode::NONE);
    }
    let mut https = Https::with_connector(tcp, builder).map_err(failed)?;
    let name = tls.server_name.clone();
    https.set_callback(move |connection, _| name_server(connection, name.as_deref(), verify));
    Ok(https)
}

/// The certificates of the system, which a vendored OpenSSL does not find by itself.
fn trust_system(builder: &mut SslConnectorBuilder) {
    if let Some(file) = &openssl_probe::probe().cert_file
        // A file that cannot be read leaves the connector without its certificates: calls then fail, saying so.
        && let Err(error) = builder.set_ca_file(file)
    {
        tracing::warn!(file = %file.display(), %error, "system certificates not loaded; https backends will not be trusted");
    }
}

/// The certificates of this file, and no others.
fn trust_only(builder: &mut SslConnectorBuilder, file: &str) -> Result<(), String> {
    let failed = |error: ErrorStack| format!("tls.ca {file}: {error}");
    let mut store = X509StoreBuilder::new().map_err(failed)?;
    for certificate in certificates("tls.ca", file)? {
        store.add_cert(certificate).map_err(failed)?;
    }
    builder.set_cert_store(store.build());
    Ok(())
}

/// A certificate of our own, with the chain that is in its file, for backends that ask for one.
fn present(builder: &mut SslConnectorBuilder, cert: &str, key: &str) -> Result<(), String> {
    let failed = |error: ErrorStack| format!("tls.cert {cert}: {error}");
    let mut chain = certificates("tls.cert", cert)?.into_iter();
    let pem = std::fs::read(key).map_err(|error| format!("tls.key {key}: {error}"))?;
    // An encrypted key would ask for its password on the terminal otherwise.
    let no_password = |_: &mut [u8]| Ok(0);
    let private = PKey::private_key_from_pem_callback(&pem, no_password)
        .map_err(|error| format!("tls.key {key} is no private key in PEM without a password: {error}"))?;
    if let Some(own) = chain.next() {
        if !own.public_key().map_err(failed)?.public_eq(&private) {
            return Err(format!("tls.key {key} is not the key of tls.cert {cert}"));
        }
        builder.set_certificate(&own).map_err(failed)?;
    }
    for issuer in chain {
        builder.add_extra_chain_cert(issuer).map_err(failed)?;
    }
    builder.set_private_key(&private).map_err(failed)
}

fn certificates(what: &str, file: &str) -> Result<Vec<X509>, String> {
    let pem = std::fs::read(file).map_err(|error| format!("{what} {file}: {error}"))?;
    match X509::stack_from_pem(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("{what} {file} holds no certificate in PEM")),
    }
}

/// Which server is expected, where it is not the host of the URL.
fn name_server(connection: &mut ConnectConfiguration, name: Option<&str>, verify: bool) -> Result<(), ErrorStack> {
    connection.set_verify_hostname(verify && name.is_none());
    let Some(name) = name else { return Ok(()) };
    connection.set_use_server_name_indication(false);
    match name.parse::<IpAddr>() {
        Ok(address) if verify => connection.param_mut().set_ip(address),
        Ok(_) => Ok(()),
        Err(_) => {
            connection.set_hostname(name)?;
            match verify {
                true => connection.param_mut().set_host(name),
                false => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let not_pem = std::env::temp_dir().join(format!("khp-tls-{}", std::process::id()));
        std::fs::write(&not_pem, "no certificate").unwrap();
        let not_pem = not_pem.to_str().unwrap().to_owned();
        for file in ["/nowhere/ca.pem", &not_pem] {
            let tls = Tls {
                ca: Some(file.into()),
                ..Tls::default()
            };
            let error = connector(&tls).err().unwrap();
            assert!(error.contains("tls.ca") && error.contains(file), "{error}");
        }
        std::fs::remove_file(not_pem).unwrap();
    }
}
