//! Bytes that a test sends to a proxy as they are.

use super::client::{Connection, Response};
use super::names::Topics;
use super::service::Service;
use super::topics::count;

/// Opens a connection to a proxy.
pub async fn connect(proxy: &Service) -> Connection {
    Connection::open(&proxy.address()).await.expect("the proxy listens")
}

/// The answer to these bytes, and its connection.
pub async fn exchange(proxy: &Service, wire: &[u8]) -> (Response, Connection) {
    let mut connection = connect(proxy).await;
    connection.send_raw(wire).await.expect("sent");
    let answer = connection.read_response(false).await;
    let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", wire[..wire.len().min(200)].escape_ascii()));
    (answer, connection)
}

/// The answer to these bytes, after which the proxy must close the connection.
pub async fn last_answer(proxy: &Service, wire: &[u8]) -> Response {
    let (answer, mut connection) = exchange(proxy, wire).await;
    let ended = connection.read_end().await;
    ended.unwrap_or_else(|error| panic!("{answer:?} and then {error}"));
    answer
}

/// Asserts that no request has a record and that no actor was restarted.
pub async fn assert_nothing_was_sent(proxy: &Service, topics: &Topics) {
    proxy.wait_until_idle().await;
    assert_eq!(count(&topics.request), 0);
    proxy.assert_no_restarts().await;
}
