//! A real browser, driven by its own driver: Chromium and its driver as the distribution has them, without
//! scripts of pages and without a way off this machine.

use std::process::Command;

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::process::{self, Process};
use crate::cluster::{PATIENCE, free_port, runtime, skipped, wait_until};

/// A browser window.
pub struct Browser {
    client: Client,
    // The driver ends its browser.
    _driver: Process,
    _folder: TempDir,
}

/// How a browser shows pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Light,
    Dark,
}

fn found(names: &[&'static str]) -> Option<&'static str> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    names.iter().copied().find(|name| folders.iter().any(|folder| folder.join(name).is_file()))
}

/// What a browser does, within [`PATIENCE`].
fn in_time<T>(act: impl Future<Output = T>) -> T {
    let done = runtime().block_on(async { tokio::time::timeout(PATIENCE, act).await });
    done.expect("the browser answers in time")
}

impl Browser {
    /// Opens a window; nothing, after a line, where there is no browser or it does not start.
    pub fn open(mode: Mode) -> Option<Self> {
        let programs = [&["chromedriver"][..], &["chromium", "google-chrome", "chrome"]];
        let [Some(driver), Some(_)] = programs.map(found) else {
            skipped("there is no Chromium with its driver (Debian: chromium, chromium-driver)");
            return None;
        };
        let folder = process::folder("browser");
        let port = free_port();
        let mut command = Command::new(driver);
        command.arg(format!("--port={port}"));
        let mut driver = Process::start("chromedriver", &mut command, folder.path()).unwrap();
        let mut arguments = vec![
            "--headless=new".to_owned(),
            // As root, as in most continuous integration, it has no sandbox of its own.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--window-size=1200,900".to_owned(),
            // Nothing has a name but this machine: whatever the browser itself would ask for fails.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1".to_owned(),
            "--no-proxy-server".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            format!("--user-data-dir={}", folder.path().join("profile").display()),
        ];
        if mode == Mode::Dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        // Pages may run no script: what works here works without any.
        let preferences = json!({"profile.managed_default_content_settings.javascript": 2});
        let options = json!({"args": arguments, "prefs": preferences});
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let url = format!("http://127.0.0.1:{port}");
        let client = wait_until("a browser", || {
            driver.still_runs()?;
            let mut builder = ClientBuilder::new(plain());
            builder.capabilities(capabilities.clone());
            let session = runtime()
                .block_on(async { tokio::time::timeout(PATIENCE, builder.connect(&url)).await });
            let session = session.map_err(|_late| "no session in time".to_owned())?;
            Ok(session.map_err(|error| error.to_string())?)
        });
        match client {
            Ok(client) => Some(Self { client, _driver: driver, _folder: folder }),
            Err(reason) => {
                skipped(&format!("Chromium does not start here: {reason}"));
                None
            }
        }
    }

    pub fn go(&self, url: &str) {
        in_time(self.client.goto(url)).unwrap();
    }

    /// The path and query of the page that is shown.
    pub fn place(&self) -> String {
        let url = in_time(self.client.current_url()).unwrap();
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        url.path().to_owned() + &query
    }

    pub fn title(&self) -> String {
        in_time(self.client.title()).unwrap()
    }

    /// The text that a person sees.
    pub fn text(&self) -> String {
        let body = self.client.find(Locator::Css("body"));
        in_time(async { body.await.unwrap().text().await }).unwrap()
    }

    /// All that the page was sent as.
    pub fn source(&self) -> String {
        in_time(self.client.source()).unwrap()
    }

    /// Follows the link with this text.
    pub fn follow(&self, text: &str) {
        let link = self.client.find(Locator::LinkText(text));
        in_time(async { link.await.unwrap().click().await }).unwrap();
    }

    /// Types into the field with this id, and Enter.
    pub fn enter(&self, id: &str, text: &str) {
        let field = self.client.find(Locator::Id(id));
        in_time(async {
            let field = field.await.unwrap();
            field.clear().await.unwrap();
            field.send_keys(text).await.unwrap();
            field.send_keys("\u{e007}").await.unwrap();
        });
    }

    /// Presses the button with this text.
    pub fn press(&self, text: &str) {
        let path = format!("//button[text()='{text}']");
        let button = self.client.find(Locator::XPath(&path));
        in_time(async { button.await.unwrap().click().await }).unwrap();
    }

    /// Presses a key wherever the focus is.
    pub fn key(&self, key: &str) {
        let focus = self.client.active_element();
        in_time(async { focus.await.unwrap().send_keys(key).await }).unwrap();
    }

    /// What a script of the test says of the page.
    pub fn ask(&self, script: &str) -> Value {
        in_time(self.client.execute(script, Vec::new())).unwrap()
    }

    /// A picture of the window, PNG.
    pub fn picture(&self) -> Vec<u8> {
        in_time(self.client.screenshot()).unwrap()
    }
}

fn plain() -> hyper_util::client::legacy::connect::HttpConnector {
    hyper_util::client::legacy::connect::HttpConnector::new()
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _closed = in_time(self.client.clone().close());
    }
}
