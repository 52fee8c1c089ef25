//! A connection between a client and the API server that a test can cut, refuse and slow down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::runtime;

/// Bytes passed on at a time.
const PIECE: usize = 64 * 1024;

#[derive(Debug)]
struct Weather {
    /// New connections are closed at once.
    refuses: AtomicBool,
    /// The pause after each piece of an answer, in milliseconds.
    pause: AtomicU64,
    /// Connections of an older age are cut.
    age: watch::Sender<u64>,
}

/// Passes bytes on to one address, as the test lets it. Ends with its value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    weather: Arc<Weather>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of loopback; `to` is `host:port`.
    pub fn start(to: &str) -> Result<Self, String> {
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let weather = Arc::new(Weather {
            refuses: AtomicBool::new(false),
            pause: AtomicU64::new(0),
            age: watch::Sender::new(0),
        });
        let task = runtime().spawn(accept(listener, to.to_owned(), Arc::clone(&weather)));
        Ok(Self { port, weather, task })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection that there is.
    pub fn cut(&self) {
        self.weather.age.send_modify(|age| *age += 1);
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuses: bool) {
        self.weather.refuses.store(refuses, Ordering::SeqCst);
    }

    /// How long it waits after each 64 KiB of an answer.
    pub fn slow_down(&self, pause: Duration) {
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.weather.pause.store(pause, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, to: String, weather: Arc<Weather>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        if weather.refuses.load(Ordering::SeqCst) {
            continue;
        }
        let (to, weather) = (to.clone(), Arc::clone(&weather));
        tokio::spawn(async move {
            let mut age = weather.age.subscribe();
            age.mark_unchanged();
            if let Ok(server) = TcpStream::connect(to).await {
                tokio::select! {
                    () = pass_on(client, server, &weather) => {}
                    _ = age.changed() => {}
                }
            }
        });
    }
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, weather: &Weather) {
    let (mut asks, mut to_client) = client.split();
    let (mut answers, mut to_server) = server.split();
    let back = async {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = answers.read(&mut piece).await {
            if to_client.write_all(&piece[..length]).await.is_err() {
                break;
            }
            let pause = weather.pause.load(Ordering::SeqCst);
            if pause > 0 {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut asks, &mut to_server) => {}
        () = back => {}
    }
}
