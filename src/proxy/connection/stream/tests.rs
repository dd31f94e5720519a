//! One request at a time, and clients that do not read or do not leave.

use std::future::poll_fn;

use super::*;

/// Writes for as long as the socket takes it.
async fn fill(connection: &mut Connection) -> io::Result<()> {
    let mut write = |cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut *connection).poll_write(cx, &[0; 1 << 16]));
    while let Poll::Ready(written) = poll_fn(&mut write).await {
        written?;
    }
    Ok(())
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
    // The runtime's turn to find what is due.
    sleep(Duration::from_millis(5)).await;
}

/// What the parser gets in one read; `None`: it has to wait.
async fn read(connection: &mut Connection) -> Option<String> {
    let mut buffer = [0; 64];
    let mut buffer = ReadBuf::new(&mut buffer);
    let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut *connection).poll_read(cx, &mut buffer))).await;
    match read {
        Poll::Ready(read) => read
            .map(|()| String::from_utf8_lossy(buffer.filled()).into_owned())
            .ok(),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn the_next_request_waits_until_the_answer_is_written_whole() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut connection = Connection::new(Io::Plain(listener.accept().await.unwrap().0));
    let (first, second) = (
        "PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
        "GET /b HTTP/1.1\r\n\r\n",
    );
    client
        .write_all([first, "\r\n", second].concat().as_bytes())
        .await
        .unwrap();
    connection.io.socket().readable().await.unwrap();
    assert_eq!(read(&mut connection).await.as_deref(), Some(first));
    assert_eq!(read(&mut connection).await, None);
    let due = connection.pipeline().answer_due();
    poll_fn(|cx| Pin::new(&mut connection).poll_flush(cx)).await.unwrap();
    assert_eq!(read(&mut connection).await, None, "what was flushed is a 100 Continue");
    drop(due);
    assert_eq!(read(&mut connection).await, None, "encoded, and not written");
    poll_fn(|cx| Pin::new(&mut connection).poll_flush(cx)).await.unwrap();
    assert_eq!(read(&mut connection).await, Some(format!("\r\n{second}")));
    assert_eq!(read(&mut connection).await, None);
    // The client leaves.
    client.write_all(first.as_bytes()).await.unwrap();
    drop(client);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(read(&mut connection).await.as_deref(), Some(""), "behind what is held");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up_and_one_that_reads_slowly_is_not() {
    // Three of them are more than the whole; what is left of each is the machine's.
    const HALF: Duration = WRITE_TIMEOUT.checked_div(2).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut connection = Connection::new(Io::Plain(listener.accept().await.unwrap().0));
    for _ in 0..3 {
        fill(&mut connection).await.unwrap();
        pass(HALF).await;
        fill(&mut connection).await.unwrap();
        let read = async {
            let mut buffer = vec![0; 1 << 16];
            while client.read(&mut buffer).await.unwrap() > 0 {}
        };
        tokio::select! {
            written = connection.write(&[0]) => assert_eq!(written.unwrap(), 1),
            () = read => unreachable!("it stays open"),
        }
    }
    fill(&mut connection).await.unwrap();
    pass(WRITE_TIMEOUT).await;
    let given_up = fill(&mut connection).await.map_err(|error| error.kind());
    assert_eq!(given_up, Err(io::ErrorKind::TimedOut));
}
