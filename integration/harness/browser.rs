//! Chromium, driven over WebDriver (https://www.w3.org/TR/webdriver2/) as a person at a keyboard would.
//!
//! Six of its commands are enough, each a POST of JSON that the harness's client sends. A library for them would bring 16 crates, and have
//! every dependency of the service compiled once more with other features.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::binary::signal_group;
use super::client::{Request, try_request};
use super::kafka::free_port;
use super::temp_dir::TempDir;
use super::wait::{eventually, off_thread};

/// Presses of Tab that a search for an element may take.
const TABS: usize = 120;
/// The text of a page, with what its fields hold.
const TEXT: &str = "return document.body.innerText";
/// What has the focus: its name for those who do not see it.
const FOCUSED: &str = "const e = document.activeElement; if (e === document.body) return ''; const label = e.labels?.[0]?.innerText; \
    return (e.getAttribute('aria-label') ?? label ?? e.innerText ?? '').trim()";

/// The keys that have no character of their own.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
/// The member that names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One window.
pub struct Browser {
    /// `host:port` of its driver.
    address: String,
    /// The path of its session.
    session: String,
    _process: Driver,
    /// What the browser writes.
    _profile: TempDir,
}

/// A process of chromedriver, the first of its group. Its browser is of that group, and goes on when the driver alone ends.
struct Driver(std::process::Child);

impl Drop for Driver {
    fn drop(&mut self) {
        signal_group("KILL", self.0.id());
        let _ = self.0.wait();
    }
}

impl Browser {
    /// Starts one.
    pub async fn start() -> Self {
        let port = free_port();
        let process = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver is installed (integration/install)");
        let process = Driver(process);
        let address = format!("127.0.0.1:{port}");
        let profile = TempDir::new();
        // In a container there is no sandbox for root, and /dev/shm is small.
        let arguments = [
            &*format!("--user-data-dir={}", profile.path().display()),
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
        ];
        let options = json!({"browserName": "chrome", "goog:chromeOptions": {"args": arguments}});
        let wanted = json!({"capabilities": {"alwaysMatch": options}});
        let begun = eventually("chromedriver answers", async || {
            send(&address, "/session", &wanted).await
        })
        .await;
        let id = begun["sessionId"].as_str().expect("a session has an id");
        Browser {
            session: format!("/session/{id}"),
            address,
            _process: process,
            _profile: profile,
        }
    }

    /// Goes to a page.
    pub async fn open(&self, url: &str) {
        self.order("/url", json!({ "url": url })).await;
    }

    /// Shows the page at this width, in dark or light.
    pub async fn look(&self, width: u32, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let screen = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        for (command, with) in [("setDeviceMetricsOverride", screen), ("setEmulatedMedia", media)] {
            let command = format!("Emulation.{command}");
            self.order("/goog/cdp/execute", json!({"cmd": command, "params": with}))
                .await;
        }
    }

    async fn order(&self, command: &str, with: Value) -> Value {
        let done = send(&self.address, &format!("{}{command}", self.session), &with).await;
        done.unwrap_or_else(|error| panic!("{command} {with}: {error}"))
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.order("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// What the page says.
    pub async fn text(&self) -> String {
        self.run(TEXT).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page says this.
    pub async fn expect(&self, wanted: &str) -> String {
        eventually(&format!("the page says {wanted:?}"), async || {
            let text = self.text().await;
            if text.contains(wanted) { Ok(text) } else { Err(text) }
        })
        .await
    }

    /// Waits until a script returns true.
    pub async fn until(&self, script: &str) {
        eventually(script, async || match self.run(script).await {
            Value::Bool(true) => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
    }

    /// Types into what has the focus.
    pub async fn press(&self, keys: &str) {
        let focused = self.run("return document.activeElement").await;
        let element = focused[ELEMENT].as_str().expect("something has the focus");
        self.order(&format!("/element/{element}/value"), json!({ "text": keys }))
            .await;
    }

    /// Moves the focus by the Tab key until it is on what is called this.
    pub async fn tab_to(&self, name: &str) {
        let mut met = Vec::new();
        for _ in 0..TABS {
            let focused = self.run(FOCUSED).await;
            let focused = focused.as_str().unwrap_or_default().to_owned();
            if focused.starts_with(name) {
                return;
            }
            met.push(focused.chars().take(30).collect::<String>());
            self.press(TAB).await;
        }
        panic!("Tab never comes to {name:?}, but to {met:?}");
    }

    /// What axe-core finds against the accessibility of the page, WCAG 2.2 AA among it.
    pub async fn violations(&self) -> Vec<String> {
        let script = off_thread(|| {
            let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/axe-fetch");
            let fetched = Command::new(fetch).output().expect("axe-fetch runs");
            assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
            std::fs::read_to_string(String::from_utf8_lossy(&fetched.stdout).trim()).expect("axe is there")
        })
        .await;
        self.run(&script).await;
        let check = "const done = arguments[arguments.length - 1]; axe.run().then((found) => done(found.violations.map(\
            (one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.target + ' ' + node.failureSummary).join('; ')}`)))";
        let found = self.order("/execute/async", json!({"script": check, "args": []})).await;
        let found = found.as_array().cloned().expect("a list");
        found
            .iter()
            .map(|one| one.as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

/// Has the driver do something; returns what comes of it.
async fn send(address: &str, path: &str, with: &Value) -> Result<Value, String> {
    let request = Request::post(path, with.to_string()).header("Content-Type", "application/json; charset=utf-8");
    let answer = try_request(address, request).await.map_err(|error| error.to_string())?;
    match answer.status {
        200 => Ok(answer.json()["value"].clone()),
        status => Err(format!(
            "{status}: {}",
            answer.text().chars().take(600).collect::<String>()
        )),
    }
}
