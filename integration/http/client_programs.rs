//! Clients of three languages with their default settings: curl, Python's http.client and urllib, Node's fetch and http.

use tokio::process::Command;

use crate::harness::backend::{Answer, Backend, Received};
use crate::harness::pair::Pair;

/// Answers with a redirect, a gzip body, cookies or a chunked body, and echoes every other request.
fn script(received: &Received) -> Answer {
    match received.target.split('?').next().unwrap_or_default() {
        "/old" => Answer::status(302).header("Location", "/new?from=old"),
        "/gzip" => Answer::body(&b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0"[..])
            .header("Content-Encoding", "gzip"),
        "/cookies" => Answer::body("ok")
            .header("Set-Cookie", "a=1; Path=/")
            .header("Set-Cookie", "b=2"),
        "/chunks" => Answer::Wire(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n".to_vec(),
        ),
        "/bytes" => Answer::same_body(received),
        _ => Answer::echo(received),
    }
}

/// Runs a client, which must print `ok` at its end.
async fn run(pair: &Pair, command: &[&str]) {
    let output = Command::new(command[0])
        .args(&command[1..])
        .env("URL", format!("http://{}", pair.proxy.address()))
        .env_remove("http_proxy")
        .output()
        .await
        .unwrap_or_else(|error| panic!("{}: {error}; integration/install installs it", command[0]));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && printed.ends_with("ok\n"),
        "{}: {printed}\n{errors}",
        command[0]
    );
}

/// A proxy that takes no large bodies.
async fn pair() -> Pair {
    let backend = Backend::start(script).await;
    Pair::start_with(backend, |proxy| proxy.set("max_body_size", "900KiB")).await
}

#[tokio::test]
async fn curl() {
    let pair = pair().await;
    const SCRIPT: &str = r#"
set -eu
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
is() { [ "$1" = "$2" ] || { echo "got $1, not $2" >&2; exit 1; }; }
c() { curl -sS --max-time 20 "$@"; }
head -c 300000 /dev/urandom >"$dir/upload"
c -H 'Expect: 100-continue' --data-binary @"$dir/upload" -o "$dir/back" "$URL/bytes"
cmp "$dir/upload" "$dir/back"
c -H 'Transfer-Encoding: chunked' -T "$dir/upload" -o "$dir/back" "$URL/bytes"
cmp "$dir/upload" "$dir/back"
is "$(c --compressed "$URL/gzip")" hello
is "$(c "$URL/chunks")" onetwo
is "$(c -L -w '%{url_effective}' -o /dev/null "$URL/old")" "$URL/new?from=old"
is "$(c -o /dev/null -w '%{http_code} %{redirect_url}' "$URL/old")" "302 $URL/new?from=old"
is "$(c -i "$URL/cookies" | grep -ci '^set-cookie:')" 2
is "$(c -I "$URL/gzip" | tr -d '\r' | grep -i '^content-length:')" 'content-length: 25'
is "$(c --path-as-is "$URL/a/../b//%2F?x=1&&x=" | sed 's/.*"target":"\([^"]*\)".*/\1/')" '/a/../b//%2F?x=1&&x='
is "$(c -X PURGE "$URL/x" | sed 's/.*"method":"\([^"]*\)".*/\1/')" PURGE
is "$(c --request-target '/x#frag' -o /dev/null -w '%{http_code}' "$URL")" 400
# The body is too large: curl reads the answer although the proxy does not read the body.
head -c 3000000 /dev/urandom >"$dir/huge"
is "$(c --data-binary @"$dir/huge" -o /dev/null -w '%{http_code}' "$URL/bytes")" 413
is "$(c -H 'Expect:' --data-binary @"$dir/huge" -o /dev/null -w '%{http_code}' "$URL/bytes")" 413
# Three requests on one connection.
is "$(c -w '%{num_connects}' -o /dev/null -o /dev/null -o /dev/null "$URL/[1-3]" | tail -c 3)" 100
echo ok
"#;
    run(&pair, &["bash", "-c", SCRIPT]).await;
}

#[tokio::test]
async fn python() {
    let pair = pair().await;
    const SCRIPT: &str = r#"
import http.client, json, os, urllib.error, urllib.request
url = os.environ["URL"]
host = url.removeprefix("http://")
connection = http.client.HTTPConnection(host, timeout=20)
def ask(method, target, body=None, headers={}, **more):
    connection.request(method, target, body, headers, **more)
    answer = connection.getresponse()
    return answer, answer.read()
data = bytes(range(256)) * 1000
assert ask("POST", "/bytes", data)[1] == data
assert ask("PUT", "/bytes", iter([data, b"", b"end"]), encode_chunked=True)[1] == data + b"end"
assert ask("GET", "/chunks")[1] == b"onetwo"
answer, body = ask("HEAD", "/gzip")
assert (answer.getheader("content-length"), body) == ("25", b"")
answer, _ = ask("GET", "/cookies")
assert answer.headers.get_all("set-cookie") == ["a=1; Path=/", "b=2"], answer.headers.items()
answer, body = ask("Purge", "/a/../b//%2F?x=1&&x=", headers={"X-A": "caf\xe9"})
assert (json.loads(body)["method"], json.loads(body)["target"]) == ("Purge", "/a/../b//%2F?x=1&&x=")
answer, _ = ask("GET", "/old")
assert (answer.status, answer.getheader("location")) == (302, "/new?from=old")
with urllib.request.urlopen(url + "/old", timeout=20) as answer:
    assert (answer.url, json.load(answer)["target"]) == (url + "/new?from=old", "/new?from=old")
answer, body = ask("POST", "/bytes", b"x" * 3000000)
assert answer.status == 413 and json.loads(body)["code"] == "body-too-large", (answer.status, body)
print("ok")
"#;
    run(&pair, &["python3", "-c", SCRIPT]).await;
}

#[tokio::test]
async fn node() {
    let pair = pair().await;
    const SCRIPT: &str = r#"
const assert = require('node:assert'), http = require('node:http');
const url = process.env.URL;
const text = async (path, options) => (await fetch(url + path, options)).text();
async function main() {
  const data = Buffer.alloc(200000, 'žluť');
  assert.deepEqual(Buffer.from(await (await fetch(url + '/bytes', { method: 'POST', body: data })).arrayBuffer()), data);
  const stream = new ReadableStream({ start(c) { c.enqueue(data); c.enqueue(new Uint8Array([0, 255])); c.close(); } });
  const back = await (await fetch(url + '/bytes', { method: 'PUT', body: stream, duplex: 'half' })).arrayBuffer();
  assert.equal(back.byteLength, data.length + 2);
  assert.equal(await text('/gzip'), 'hello');
  assert.equal(await text('/chunks'), 'onetwo');
  assert.deepEqual((await fetch(url + '/cookies')).headers.getSetCookie(), ['a=1; Path=/', 'b=2']);
  const moved = await fetch(url + '/old');
  assert.deepEqual([moved.redirected, moved.url], [true, url + '/new?from=old']);
  const head = await fetch(url + '/gzip', { method: 'HEAD' });
  assert.equal(head.headers.get('content-length'), '25');
  const many = await Promise.all(Array.from({ length: 50 }, (_, n) => text('/echo?n=' + n).then(JSON.parse)));
  many.forEach((echo, n) => assert.equal(echo.target, '/echo?n=' + n));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const request = (options, body) => new Promise((done, failed) => http.request(url, { agent, ...options }, (answer) => {
    const chunks = [];
    answer.on('data', (chunk) => chunks.push(chunk)).on('end', () => done([answer, Buffer.concat(chunks).toString()]));
  }).on('error', failed).end(body));
  for (let n = 0; n < 3; n++) {
    const [answer, body] = await request({ method: 'PURGE', path: '/a/../b//%2F?x=1&&x=' }, 'body ' + n);
    assert.deepEqual([answer.statusCode, JSON.parse(body).target, JSON.parse(body).body], [200, '/a/../b//%2F?x=1&&x=', 'body ' + n]);
  }
  const [refused] = await request({ method: 'POST', path: '/bytes' }, Buffer.alloc(3000000));
  assert.equal(refused.statusCode, 413);
  console.log('ok');
}
main().catch((error) => { console.error(error); process.exit(1); });
"#;
    run(&pair, &["node", "-e", SCRIPT]).await;
}
