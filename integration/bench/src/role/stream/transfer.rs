//! Large bodies, down and up. What came is compared by its SHA-256.

use std::net::SocketAddr;
use std::time::Instant;

use openssl::sha::Sha256;
use tokio::io::AsyncWriteExt;

use super::answer::{Answer, connect};
use super::content::{Content, hex};
use crate::error::Result;
use crate::outcome::Recorder;

#[derive(clap::Args)]
pub struct Size {
    /// Bytes of the body
    #[arg(long)]
    size: u64,
}

pub async fn down(target: SocketAddr, Size { size }: Size) -> Result<()> {
    let expected = Content::digest(size);
    measured(expected, get(target, size)).await
}

/// Until this process is killed.
pub async fn down_again_and_again(target: SocketAddr, Size { size }: Size) -> Result<()> {
    loop {
        get(target, size).await?;
    }
}

pub async fn up(target: SocketAddr, Size { size }: Size) -> Result<()> {
    let expected = Content::digest(size);
    measured(expected, put(target, size)).await
}

/// Measures one transfer, which is to give this hash.
async fn measured(expected: String, transfer: impl Future<Output = Result<String>>) -> Result<()> {
    let mut recorder = Recorder::new()?;
    recorder.begin();
    let began = Instant::now();
    match transfer.await {
        Ok(hash) if hash == expected => recorder.answered(began.elapsed()),
        Ok(_) => recorder.failed(),
        Err(error) => {
            eprintln!("bench: a large body: {error}");
            recorder.failed();
        }
    }
    recorder.end()
}

async fn get(target: SocketAddr, size: u64) -> Result<String> {
    let mut answer = Answer::get(target, &format!("down?size={size}")).await?;
    let mut hash = Sha256::new();
    while let Some(bytes) = answer.next().await? {
        hash.update(&bytes);
    }
    Ok(hex(hash))
}

async fn put(target: SocketAddr, size: u64) -> Result<String> {
    let mut stream = connect(target).await?;
    let head = format!("PUT /stream/up HTTP/1.1\r\nhost: {target}\r\ncontent-length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut content = Content::new(size);
    loop {
        match content.next() {
            [] => break,
            bytes => stream.write_all(bytes).await?,
        }
    }
    Ok(Answer::of(stream).await?.text().await?)
}
