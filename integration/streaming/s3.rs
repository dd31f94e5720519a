//! S3 by Amazon's own client, through both roles: each part of an upload is a large body, and an object comes as a stream or in parts.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::harness::names::Topics;
use crate::harness::python::python;
use crate::harness::spec::{processor, proxy};
use crate::harness::temp_dir::TempDir;

/// Bytes of the object: three parts of 8 MiB, and some of a fourth.
const SIZE: usize = (24 << 20) + 12_345;

fn script(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/streaming/s3");
    dir.join(name)
}

#[tokio::test]
async fn boto3_uploads_an_object_in_parts_and_downloads_it_whole() {
    let mut server = Command::new("python3")
        .arg(script("server.py"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python is installed; integration/install installs it");
    let mut lines = BufReader::new(server.stdout.take().expect("it is piped")).lines();
    let port = lines.next_line().await.expect("it is text").expect("it listens");
    let topics = Topics::unique("objects");
    let url = format!("http://127.0.0.1:{port}");
    let processor = processor(&[(&topics, &url)]).start().await;
    let proxy = proxy(&topics).start().await;
    let dir = TempDir::new();
    let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(SIZE).collect();
    let file = dir.path().join("noise");
    std::fs::write(&file, noise).expect("it is written");
    let client = Command::new(python().await)
        .arg(script("client.py"))
        .arg(format!("http://{}", proxy.address()))
        .arg(&file)
        .env_remove("http_proxy")
        .output()
        .await
        .expect("the interpreter runs");
    let (out, err) = (
        String::from_utf8_lossy(&client.stdout),
        String::from_utf8_lossy(&client.stderr),
    );
    assert!(client.status.success(), "{out}\n{err}");
    let uploaded = lines.next_line().await.expect("it is text").expect("it runs");
    assert_eq!(uploaded, format!("/shop/noise 4 parts {}", out.trim()));
    let metrics = proxy.metrics().await;
    assert_eq!(
        metrics.sum("proxy_uploads_total", &[("outcome", "written")]),
        3.0,
        "three parts are large"
    );
    // The object as one stream, and its three large parts.
    assert!(metrics.sum("proxy_streams_total", &[("outcome", "complete")]) >= 4.0);
    let read = processor
        .metrics()
        .await
        .sum("processor_bodies_total", &[("outcome", "whole")]);
    assert_eq!(read, 3.0);
}
