//! The token that all clients of the process show to brokers with OAUTHBEARER. A thread of its own gets it and renews it in time, so that
//! no client waits for the provider.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::CString;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rdkafka::ClientContext;
use rdkafka::client::{Client, OAuthToken};
use rdkafka_sys as rdsys;
use tokio::sync::Notify;

use crate::kafka::client::oidc::{self, ClientCredentials, Token};
use crate::wire::now_ms;

/// A start waits so long for the first token. Without one, librdkafka asks again only after ten seconds.
const FIRST_TOKEN: Duration = Duration::from_secs(6);
/// A token is renewed when this share of its life has passed: before librdkafka asks for the next one, at 80 %.
const RENEW_AT: f64 = 0.7;
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// One for all clients, which share one `kafka.properties`.
static SOURCE: OnceLock<Arc<Source>> = OnceLock::new();

struct Source {
    credentials: ArcSwap<ClientCredentials>,
    token: ArcSwapOption<Token>,
    /// The credentials were replaced.
    changed: Notify,
}

/// Begins to get tokens, if `kafka.properties` ask for it and nothing has begun yet. Waits for the first attempt; blocks.
pub fn start(properties: &BTreeMap<String, String>) {
    if !oidc::is_wanted(properties) || SOURCE.get().is_some() {
        return;
    }
    // Err: the settings are refused.
    let Ok(credentials) = ClientCredentials::of(properties) else {
        return;
    };
    SOURCE.get_or_init(|| {
        let source = Arc::new(Source {
            credentials: ArcSwap::from_pointee(credentials),
            token: ArcSwapOption::empty(),
            changed: Notify::new(),
        });
        let (first, attempted) = crossbeam_channel::bounded(1);
        let keeper = source.clone();
        let spawned = std::thread::Builder::new()
            .name("khp-oauth".into())
            .spawn(move || keep(&keeper, &first));
        match spawned {
            // Err: it takes longer, and goes on.
            Ok(_) => drop(attempted.recv_timeout(FIRST_TOKEN)),
            Err(error) => tracing::error!(%error, "no OAuth token for Kafka"),
        }
        source
    });
}

/// From now on, tokens are got with these credentials.
pub fn replace(properties: &BTreeMap<String, String>) {
    if let (Some(source), Ok(credentials)) = (SOURCE.get(), ClientCredentials::of(properties)) {
        source.credentials.store(Arc::new(credentials));
        source.changed.notify_one();
    }
}

/// The token that a client is to show.
///
/// # Errors
/// There is none yet, or none any more; the log says why.
pub fn token() -> Result<OAuthToken, Box<dyn Error>> {
    let source = SOURCE.get().ok_or("kafka.properties say nothing of how to get one")?;
    let token = source.token.load_full();
    let token = token.filter(|token| token.expires_ms > now_ms());
    let token = token.ok_or("the provider gave none")?;
    Ok(OAuthToken {
        token: token.value.clone(),
        principal_name: source.credentials.load().client_id.clone(),
        lifetime_ms: token.expires_ms,
    })
}

/// Gives a client its first token. One that is polled asks by itself.
pub fn sign_in<C: ClientContext>(client: &Client<C>) {
    let Ok(found) = token() else { return };
    let (Ok(value), Ok(principal)) = (CString::new(found.token), CString::new(found.principal_name)) else {
        return;
    };
    // SAFETY: the client is alive, the strings live until the call returns, and the error text has no room on purpose.
    let code = unsafe {
        rdsys::rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            found.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
            0,
        )
    };
    if code != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        tracing::debug!(?code, "the OAuth token was not taken");
    }
}

fn keep(source: &Source, first: &crossbeam_channel::Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(renew(source, first)),
        Err(error) => tracing::error!(%error, "no OAuth token for Kafka"),
    }
}

/// Runs as long as the process.
async fn renew(source: &Source, first: &crossbeam_channel::Sender<()>) {
    let mut failures = 0;
    let mut last_error = String::new();
    loop {
        let credentials = source.credentials.load_full();
        let endpoint = credentials.endpoint();
        let wait = match credentials.fetch().await {
            Ok(token) => {
                if failures > 0 {
                    tracing::info!(endpoint, "OAuth tokens for Kafka again");
                }
                failures = 0;
                last_error.clear();
                let life = token.expires_ms - now_ms();
                source.token.store(Some(Arc::new(token)));
                Duration::from_millis(life.max(0).unsigned_abs())
                    .mul_f64(RENEW_AT)
                    .max(SHORTEST_WAIT)
            }
            Err(error) => {
                failures += 1;
                match error == last_error {
                    true => tracing::debug!(endpoint, error, "still no OAuth token for Kafka"),
                    false => tracing::error!(
                        endpoint,
                        error,
                        "no OAuth token for Kafka: check sasl.oauthbearer.* in kafka.properties"
                    ),
                }
                last_error = error;
                wait_after(failures)
            }
        };
        // Err: nobody waits for it any more.
        let _ = first.try_send(());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = source.changed.notified() => {}
        }
    }
}

/// One second, doubling to ten.
fn wait_after(failures: u32) -> Duration {
    let doubled = SHORTEST_WAIT.saturating_mul(1 << failures.clamp(1, 5).saturating_sub(1));
    doubled.min(LONGEST_WAIT_AFTER_FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_followed_by_growing_waits() {
        assert_eq!(
            [1, 2, 3, 4, 5, 1000].map(|failures| wait_after(failures).as_secs()),
            [1, 2, 4, 8, 10, 10]
        );
    }
}
