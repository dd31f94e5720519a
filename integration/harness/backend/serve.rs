//! The backend's side of its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answer::{Answer, encode};
use super::received::Received;

/// Decides what to answer.
pub type Script = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

/// What the connections of a backend share with the test.
pub struct Shared {
    pub received: watch::Sender<Vec<Received>>,
    /// The requests whose caller left without an answer, each with the number of calls that had come by then.
    pub left: watch::Sender<Vec<(Received, usize)>>,
    pub script: watch::Sender<Script>,
    /// Requests that have come and are not answered yet.
    under_way: AtomicUsize,
    /// The highest value that `under_way` has had.
    pub most_under_way: AtomicUsize,
}

impl Shared {
    pub fn new(script: Script) -> Self {
        Shared {
            received: watch::Sender::new(Vec::new()),
            left: watch::Sender::new(Vec::new()),
            script: watch::Sender::new(script),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        }
    }
}

/// Serves every connection until this future is dropped. All connections end with it.
pub async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some(received) = Received::read(&mut stream).await {
        let now = shared.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_under_way.fetch_max(now, Ordering::Relaxed);
        shared.received.send_modify(|all| all.push(received.clone()));
        let script = shared.script.borrow().clone();
        let bytes = match wait(script(&received)).await {
            Answer::Respond { status, headers, body } => encode(&received.method, status, &headers, &body),
            Answer::Wire(bytes) => bytes,
            Answer::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Answer::Hang => {
                // Ends with the connection, whatever else comes on it.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                let calls = shared.received.borrow().len();
                shared.left.send_modify(|all| all.push((received, calls)));
                shared.under_way.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            Answer::Close | Answer::After(..) | Answer::Until(..) => return,
        };
        // Before the answer is sent: its receiver may send the next request at once.
        shared.under_way.fetch_sub(1, Ordering::Relaxed);
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Waits as an answer demands, and returns what is to be done then.
async fn wait(mut answer: Answer) -> Answer {
    loop {
        answer = match answer {
            Answer::After(delay, then) => {
                tokio::time::sleep(delay).await;
                *then
            }
            Answer::Until(mut gate, then) => {
                // Err: nobody is left to open the gate.
                let _ = gate.wait_for(|open| *open).await;
                *then
            }
            answer => return answer,
        };
    }
}
