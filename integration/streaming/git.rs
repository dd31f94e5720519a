//! git over HTTP, through both roles: a push is a large body of a request, and a clone a large answer.

use tokio::process::Command;

use crate::harness::git_server::GitServer;
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::temp_dir::TempDir;

/// Bytes of the file that is pushed and cloned: noise, so that git's packs are no smaller.
const SIZE: usize = 24 << 20;

/// Runs a script with git, which reads no configuration of this machine.
async fn run(dir: &TempDir, script: &str, url: &str) -> String {
    let output = Command::new("bash")
        .args(["-euc", script])
        .current_dir(dir.path())
        .env("URL", url)
        .env("SIZE", SIZE.to_string())
        .env("HOME", dir.path())
        .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_TERMINAL_PROMPT", "0")])
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "tester")))
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "tester@shop.example")))
        .env_remove("http_proxy")
        .output()
        .await
        .expect("bash runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{script}\n{out}\n{err}");
    out.trim().to_owned()
}

#[tokio::test]
async fn a_repository_is_pushed_and_cloned_whole() {
    let (topics, server) = (Topics::unique("git"), GitServer::start().await);
    let processor = processor(&[(&topics, &server.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let url = format!("http://{}/shop.git", proxy.address());
    run(
        &server.dir,
        "git init -q --bare shop.git && git -C shop.git config http.receivepack true",
        &url,
    )
    .await;
    let work = TempDir::new();
    let pushed = run(
        &work,
        "git init -q -b main pushed && cd pushed
         head -c $SIZE /dev/urandom >noise && git add noise && git commit -qm noise
         git push -q \"$URL\" main
         git rev-parse HEAD; sha256sum <noise",
        &url,
    )
    .await;
    let cloned = run(
        &work,
        "git clone -q \"$URL\" cloned -b main && cd cloned && git fsck --strict >&2
         git rev-parse HEAD; sha256sum <noise",
        &url,
    )
    .await;
    assert_eq!(cloned, pushed);
    let metrics = proxy.metrics().await;
    let uploads = metrics.sum("proxy_uploads_total", &[("outcome", "written")]);
    assert_eq!(uploads, 1.0, "the pack went beside its request");
    assert!(metrics.sum("proxy_upload_bytes_total", &[]) >= SIZE as f64);
    assert!(metrics.sum("proxy_streams_total", &[("outcome", "complete")]) >= 1.0);
    let read = processor
        .metrics()
        .await
        .sum("processor_bodies_total", &[("outcome", "whole")]);
    assert_eq!(read, 1.0);
}
