//! What is around the replicas: their wall clock, their name server, and a registry that is found by
//! name and speaks TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::cluster::pki::{Authority, Identity};
use crate::cluster::pullgate::Surroundings;
use crate::cluster::{process, runtime};
use crate::registry::scripted::Scripted;

/// The registry that is found by name.
const NAME: &str = "registry.chaos.test";

/// A wall clock that can be moved while programs run by it.
pub(super) struct Clock {
    file: std::fs::File,
    variables: Vec<(&'static str, String)>,
}

impl Clock {
    fn new(folder: &Path) -> Self {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/chaos/clock.c");
        let (library, offset) = (folder.join("clock.so"), folder.join("offset"));
        // The C compiler is the one that links Rust programs.
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([library.as_path(), Path::new(source)])
            .args(["-ldl"])
            .status();
        assert!(built.unwrap().success(), "cc {source}");
        std::fs::write(&offset, 0i64.to_le_bytes()).unwrap();
        let file = std::fs::File::options().write(true).open(&offset).unwrap();
        let variables = vec![
            ("LD_PRELOAD", library.display().to_string()),
            ("PULLGATE_TEST_CLOCK", offset.display().to_string()),
        ];
        let clock = Self { file, variables };
        clock.set(86_400);
        let real = jiff::Timestamp::now().as_second();
        let shown = Command::new("date").arg("+%s").envs(clock.variables.clone()).output().unwrap();
        let shown: i64 = String::from_utf8_lossy(&shown.stdout).trim().parse().unwrap();
        assert!((86_395..86_405).contains(&(shown - real)), "{shown} when it is {real}");
        clock.set(0);
        clock
    }

    /// Moves it by so many seconds against the real one.
    pub(super) fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// A name server that knows every name below `chaos.test`, and nothing else; it can fall silent.
pub(super) struct Names {
    address: Ipv4Addr,
    silent: Arc<AtomicBool>,
}

impl Names {
    /// On an address of loopback of its own; what `resolv.conf` names has to be at port 53.
    fn start() -> Result<Self, String> {
        let [high, low] = u16::try_from(std::process::id() % 0xffff).unwrap_or(1).to_be_bytes();
        let address = Ipv4Addr::new(127, 53, high, low);
        let socket = runtime().block_on(UdpSocket::bind((address, 53)));
        let socket = socket.map_err(|error| format!("no name server at {address}:53: {error}"))?;
        let silent = Arc::new(AtomicBool::new(false));
        runtime().spawn(answer_names(socket, Arc::clone(&silent)));
        Ok(Self { address, silent })
    }

    pub(super) fn be_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }
}

async fn answer_names(socket: UdpSocket, silent: Arc<AtomicBool>) {
    let mut packet = [0u8; 512];
    while let Ok((length, from)) = socket.recv_from(&mut packet).await {
        if silent.load(Ordering::Relaxed) {
            continue;
        }
        if let Some(answer) = answer_to(&packet[..length]) {
            let _gone = socket.send_to(&answer, from).await;
        }
    }
}

/// The answer to a question (RFC 1035, 4.1): the address of loopback for a second, or no such name.
fn answer_to(packet: &[u8]) -> Option<Vec<u8>> {
    let (mut name, mut at) = (String::new(), 12);
    while *packet.get(at)? != 0 {
        let length = usize::from(packet[at]);
        name.push_str(std::str::from_utf8(packet.get(at + 1..=at + length)?).ok()?);
        name.push('.');
        at += length + 1;
    }
    let end = at + 5;
    let known = name.to_ascii_lowercase().ends_with(".chaos.test.");
    let found = known && packet.get(end - 3) == Some(&1);
    let mut answer = packet.get(..end)?.to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    if found {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    } else if !known {
        answer[3] |= 3;
    }
    Some(answer)
}

/// TLS in front of a registry, with a certificate that can be changed at any time.
pub(super) struct Front {
    authority: Authority,
    stranger: Authority,
    port: u16,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Front {
    fn before(registry: &Scripted) -> Self {
        let authority = Authority::new("pullgate-test-chaos");
        let stranger = Authority::new("pullgate-test-stranger");
        let config = Arc::new(Mutex::new(config_of(&authority.server(&[NAME]))));
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind: SocketAddr = registry.host().parse().unwrap();
        runtime().spawn(pass_on(listener, Arc::clone(&config), behind));
        Self { authority, stranger, port, config }
    }

    /// From now on with a new certificate of the authority that Pullgate was given, or of one that
    /// nobody knows.
    pub(super) fn renew(&self, known: bool) {
        let authority = if known { &self.authority } else { &self.stranger };
        *self.config.lock().unwrap() = config_of(&authority.server(&[NAME]));
    }
}

fn config_of(identity: &Identity) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.unwrap())
}

async fn pass_on(listener: TcpListener, config: Arc<Mutex<Arc<ServerConfig>>>, to: SocketAddr) {
    while let Ok((client, _)) = listener.accept().await {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&config.lock().unwrap()));
        tokio::spawn(async move {
            let mut client = acceptor.accept(client).await?;
            let mut server = TcpStream::connect(to).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

/// All of it.
pub(super) struct Around {
    pub(super) clock: Clock,
    /// The name server and the registry that is found by it, or why they cannot be had.
    pub(super) named: Result<(Names, Front), String>,
    folder: TempDir,
}

impl Around {
    /// `registry` is the one that is found by name.
    pub(super) fn new(registry: &Scripted) -> Self {
        let folder = process::folder("around");
        let clock = Clock::new(folder.path());
        let named = may_mount().and_then(|()| Names::start()).map(|names| {
            let resolv = format!("nameserver {}\n", names.address);
            std::fs::write(folder.path().join("resolv.conf"), resolv).unwrap();
            let front = Front::before(registry);
            std::fs::write(folder.path().join("ca.crt"), front.authority.certificate()).unwrap();
            (names, front)
        });
        Self { clock, named, folder }
    }

    /// Host and port of the registry that is found by name.
    pub(super) fn named_host(&self) -> Option<String> {
        let (_, front) = self.named.as_ref().ok()?;
        Some(format!("{NAME}:{}", front.port))
    }

    /// The flags that a replica needs for it.
    pub(super) fn flags(&self) -> Vec<String> {
        let authority = self.folder.path().join("ca.crt");
        let given = self.named.as_ref().map(|_| format!("--ca-file={}", authority.display()));
        given.into_iter().collect()
    }

    /// What a replica is started in: its own view of `/etc/resolv.conf`, and the clock.
    pub(super) fn surroundings(&self) -> Surroundings {
        let within = match self.named {
            Ok(_) => {
                let mount = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
                let resolv = self.folder.path().join("resolv.conf").display().to_string();
                ["unshare", "--mount", "sh", "-c", mount, &resolv].map(str::to_owned).to_vec()
            }
            Err(_) => Vec::new(),
        };
        Surroundings { within, variables: self.clock.variables.clone() }
    }
}

/// Whether a process may have mounts of its own.
fn may_mount() -> Result<(), String> {
    let mount = "mount --bind /etc/hosts /etc/resolv.conf";
    let tried = Command::new("unshare").args(["--mount", "sh", "-c", mount]).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "no view of its own of /etc/resolv.conf: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("unshare: {error}")),
    }
}
