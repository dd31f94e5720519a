//! Chromium, driven over WebDriver as a person at a keyboard would.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use thirtyfour::prelude::*;

use super::binary::signal;
use super::kafka::free_port;
use super::wait::{eventually, off_thread};

/// Presses of Tab that a search for an element may take.
const TABS: usize = 120;
/// The text of a page, with what its fields hold.
const TEXT: &str = "return document.body.innerText";
/// What has the focus: its name for those who do not see it.
const FOCUSED: &str = "const e = document.activeElement; if (e === document.body) return ''; const label = e.labels?.[0]?.innerText; \
    return (e.getAttribute('aria-label') ?? label ?? e.innerText ?? '').trim()";

/// One window.
pub struct Browser {
    driver: WebDriver,
    // After the driver, which ends its session with it.
    _process: Driver,
}

/// A process of chromedriver. It ends its browser when it is told to end.
struct Driver(std::process::Child);

impl Drop for Driver {
    fn drop(&mut self) {
        signal("TERM", self.0.id());
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
            .spawn()
            .expect("chromedriver is installed (integration/install)");
        let process = Driver(process);
        let mut wanted = DesiredCapabilities::chrome();
        // In a container there is no sandbox for root, and /dev/shm is small.
        for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] {
            wanted.add_arg(argument).expect("an argument");
        }
        let driver = eventually("chromedriver answers", async || {
            let address = format!("http://127.0.0.1:{port}");
            WebDriver::new(address, wanted.clone()).await.map_err(|error| error.to_string())
        })
        .await;
        Browser {
            driver,
            _process: process,
        }
    }

    /// Goes to a page.
    pub async fn open(&self, url: &str) {
        self.driver.goto(url).await.expect("the page opens");
    }

    /// Sets the size of the window.
    pub async fn resize(&self, width: u32, height: u32) {
        self.driver.set_window_rect(0, 0, width, height).await.expect("a window");
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str) -> Value {
        let result = self.driver.execute(script, Vec::new()).await;
        result.expect("the script runs").json().clone()
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
    pub async fn press(&self, keys: impl Into<TypingData>) {
        let element = self.driver.active_element().await.expect("something has the focus");
        element.send_keys(keys).await.expect("it takes keys");
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
            self.press(Key::Tab).await;
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
        let found = self.driver.execute_async(check, Vec::new()).await.expect("axe runs");
        let found = found.json().as_array().cloned().expect("a list");
        found.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
    }
}
