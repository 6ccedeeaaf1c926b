//! A browser, driven by WebDriver (W3C): Debian's Chromium and its chromedriver.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::http::exchange;
use super::port::reserve;
use super::tree::tool;
use super::wait::{DEADLINE, wait_until};

/// The driver process; ended when dropped.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        // It ends its browser on TERM, but not on KILL.
        _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        _ = self.0.wait();
    }
}

/// A window of a browser.
pub(crate) struct Browser {
    address: SocketAddr,
    session: String,
    _driver: Driver,
}

impl Browser {
    /// Starts one; without one prints that the test is skipped and returns `None`.
    pub(crate) fn start() -> Option<Browser> {
        tool("chromium")?;
        let mut command = tool("chromedriver")?;
        let port = reserve(Ipv4Addr::LOCALHOST);
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = Driver(command.spawn().unwrap());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until("chromedriver to listen", || TcpStream::connect(address).is_ok());
        let mut browser = Browser { address, session: String::new(), _driver: driver };
        // Chromium's sandbox needs rights that a container seldom has, and /dev/shm is small there.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];
        let made = browser.call(
            "",
            &json!({ "capabilities": { "alwaysMatch": {
                "goog:chromeOptions": { "args": arguments },
                "goog:loggingPrefs": { "browser": "ALL" },
            } } }),
        );
        browser.session = format!("/{}", made["sessionId"].as_str().unwrap());
        Some(browser)
    }

    #[track_caller]
    fn call(&self, command: &str, parameters: &Value) -> Value {
        self.ask("POST", command, &parameters.to_string())
    }

    #[track_caller]
    fn ask(&self, method: &str, command: &str, body: &str) -> Value {
        let path = format!("/session{}{command}", self.session);
        let (status, reply) = exchange(self.address, method, &path, body);
        let mut reply: Value = serde_json::from_str(&reply).unwrap();
        assert_eq!(status, 200, "{command}: {reply}");
        reply["value"].take()
    }

    /// Opens a page.
    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.call("/url", &json!({ "url": url }));
    }

    /// Runs a script in the page and returns its result.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The same for a script that passes its result to its last argument.
    #[track_caller]
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.call("/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Shows pages on a screen of this size, in the colour scheme `scheme` (dark or light).
    #[track_caller]
    pub(crate) fn shows(&self, width: u32, height: u32, scheme: &str) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700 });
        self.chromium("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", &features);
    }

    /// A command of Chromium's own protocol.
    #[track_caller]
    fn chromium(&self, command: &str, parameters: &Value) {
        self.call("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    /// The console messages of the page since the last call.
    #[track_caller]
    pub(crate) fn console(&self) -> Vec<String> {
        let lines = self.call("/se/log", &json!({ "type": "browser" }));
        lines.as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    /// Saves a screenshot of the page for people to look at.
    #[track_caller]
    pub(crate) fn keep_picture(&self, name: &str) {
        let picture = self.ask("GET", "/screenshot", "");
        let picture = openssl::base64::decode_block(picture.as_str().unwrap()).unwrap();
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}.png")), picture).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium outlives its driver: the session is ended first, even after a failure.
        let request = format!("DELETE /session{} HTTP/1.1\r\nHost: {}\r\n\r\n", self.session, self.address);
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            _ = stream.set_read_timeout(Some(DEADLINE));
            _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read(&mut [0; 1]));
        }
    }
}
