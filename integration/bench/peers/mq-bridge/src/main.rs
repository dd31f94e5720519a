//! HTTP through Kafka with mq-bridge: a processor, and two fronts. `bench --peers` starts them, and measures them beside actix-khp.

/// A request that goes out as a record, and waits for the reply with its id.
mod exchange;
/// A small HTTP front made by hand.
mod front;

use std::sync::Arc;

use mq_bridge::anyhow::{Context, Result, bail};
use mq_bridge::{Publisher, Route};
use tokio::net::TcpListener;

use crate::exchange::{Endpoint, Exchange, Replies};

/// What the configurations take from the environment.
const PLACES: [&str; 5] = ["BROKERS", "REQUESTS", "REPLIES", "BACKEND", "PORT"];

#[tokio::main]
async fn main() -> Result<()> {
    // Err: there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match std::env::args().nth(1).as_deref() {
        Some("processor") => {
            let route = Route::from_str(&filled(include_str!("../processor.yaml")), "processor")?;
            route.deploy("processor").await?;
            println!("ready 0");
            std::future::pending().await
        }
        Some("endpoint") => {
            let exchange = exchange().await?;
            let route = Route::from_str(&filled(include_str!("../front.yaml")), "endpoint")?;
            route
                .with_handler(Endpoint(exchange.clone()))
                .deploy("endpoint")
                .await?;
            exchange.ready().await?;
            println!("ready {}", std::env::var("PORT").context("PORT")?);
            std::future::pending().await
        }
        Some("front") => {
            let exchange = exchange().await?;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            exchange.ready().await?;
            println!("ready {}", listener.local_addr()?.port());
            front::serve(listener, exchange).await
        }
        role => bail!("processor, endpoint or front, not {role:?}"),
    }
}

/// The side of Kafka that both fronts have.
async fn exchange() -> Result<Arc<Exchange>> {
    let config = filled(include_str!("../front.yaml"));
    let exchange = Arc::new(Exchange::new(Publisher::from_str(&config, "requests").await?));
    let replies = Route::from_str(&config, "replies")?;
    replies
        .with_handler(Replies(exchange.clone()))
        .deploy("replies")
        .await?;
    Ok(exchange)
}

/// A configuration with the values of this run.
fn filled(config: &str) -> String {
    PLACES.iter().fold(config.to_owned(), |config, name| {
        let value = std::env::var(name).unwrap_or_default();
        config.replace(&format!("${{{name}}}"), &value)
    })
}
