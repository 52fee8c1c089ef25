//! Who asks: one thread a connection, the next question as soon as the answer is there.

#![allow(dead_code, reason = "several benchmarks share it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::servers::Server;

/// Where questions go.
pub struct Target {
    port: u16,
    config: Arc<ClientConfig>,
    process: u32,
}

/// What a run came to, in seconds; processor time a review.
#[derive(Clone, Copy)]
pub struct Figures {
    pub p50: f64,
    pub p99: f64,
    pub throughput: f64,
    pub processor: f64,
}

impl Target {
    pub fn of(server: &Server) -> Self {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(server.authority.as_bytes()) {
            roots.add(authority.expect("a certificate")).expect("an authority");
        }
        let (certificate, key) = &server.client;
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("its own")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("its key");
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("a configuration");
        Self { port: server.port, config: Arc::new(config), process: server.id() }
    }

    /// Asks once over a connection of its own; the seconds from the question to the answer.
    pub fn time_one(&self, body: &str) -> f64 {
        let (mut connection, question) = (self.connect(), question(body));
        let asked = Instant::now();
        connection.ask(&question);
        asked.elapsed().as_secs_f64()
    }

    fn connect(&self) -> Connection {
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let mut tls = ClientConnection::new(Arc::clone(&self.config), name).expect("a connection");
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        socket.set_nodelay(true).expect("a socket");
        // The handshake is no part of what is measured.
        tls.complete_io(&mut socket).expect("a handshake");
        Connection { stream: StreamOwned::new(tls, socket), answer: Vec::new() }
    }
}

struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    answer: Vec<u8>,
}

impl Connection {
    /// Asks once, and reads the answer to its end.
    fn ask(&mut self, question: &[u8]) {
        self.stream.write_all(question).expect("a question");
        self.stream.flush().expect("a question");
        self.answer.clear();
        let mut part = [0; 16 * 1024];
        loop {
            let read = self.stream.read(&mut part).expect("an answer");
            assert!(read > 0, "the server hung up");
            self.answer.extend_from_slice(&part[..read]);
            if is_whole(&self.answer) {
                break;
            }
        }
        let allowed = br#""allowed":true"#;
        assert!(
            self.answer.starts_with(b"HTTP/1.1 200")
                && self.answer.windows(allowed.len()).any(|part| part == allowed),
            "{}",
            String::from_utf8_lossy(&self.answer)
        );
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
    answer.len() >= end + 4 + length
}

fn question(body: &str) -> Vec<u8> {
    let head = format!(
        "POST /validate?timeout=10s HTTP/1.1\r\nHost: pullgate.pullgate.svc\r\n\
         User-Agent: kube-apiserver-admission\r\nContent-Length: {}\r\n\
         Accept: application/json, */*\r\nContent-Type: application/json\r\n\
         Accept-Encoding: gzip\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// What stands where each question has a number of its own, so that no two are alike.
pub const NUMBER: &str = "@0000000";

/// A question with the next number, if it has one.
struct Numbered<'q> {
    question: &'q [u8],
    at: Option<usize>,
}

impl<'q> Numbered<'q> {
    fn of(question: &'q [u8]) -> Self {
        let at = question.windows(NUMBER.len()).position(|part| part == NUMBER.as_bytes());
        Self { question, at }
    }

    fn write(&self, text: &mut Vec<u8>) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        text.clear();
        text.extend_from_slice(self.question);
        if let Some(at) = self.at {
            let number = format!("@{:07}", NEXT.fetch_add(1, Ordering::Relaxed));
            text[at..at + NUMBER.len()].copy_from_slice(number.as_bytes());
        }
    }
}

/// Asks so often over so many connections.
pub fn measure(target: &Target, bodies: &[String], connections: usize, reviews: usize) -> Figures {
    let questions: Vec<Vec<u8>> = bodies.iter().map(|body| question(body)).collect();
    let questions: Vec<Numbered<'_>> = questions.iter().map(|one| Numbered::of(one)).collect();
    let mut text = Vec::new();
    let mut open: Vec<Connection> = (0..connections).map(|_| target.connect()).collect();
    for (connection, question) in open.iter_mut().zip(questions.iter().cycle()) {
        question.write(&mut text);
        connection.ask(&text);
    }
    let used = processor_time(target.process);
    let began = Instant::now();
    let each = reviews / connections;
    let mut times: Vec<f64> = std::thread::scope(|scope| {
        let questions = &questions;
        let threads: Vec<_> = open
            .iter_mut()
            .enumerate()
            .map(|(nth, connection)| {
                scope.spawn(move || {
                    let mine = questions.iter().cycle().skip(nth * 7).take(each);
                    let mut text = Vec::new();
                    let timed = mine.map(|question| {
                        question.write(&mut text);
                        let asked = Instant::now();
                        connection.ask(&text);
                        asked.elapsed().as_secs_f64()
                    });
                    timed.collect::<Vec<f64>>()
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("a thread"));
        joined.flatten().collect()
    });
    let took = began.elapsed().as_secs_f64();
    let used = processor_time(target.process) - used;
    times.sort_by(f64::total_cmp);
    let count = times.len();
    Figures {
        p50: times[count / 2],
        p99: times[count * 99 / 100],
        throughput: count as f64 / took,
        processor: used / count as f64,
    }
}

/// Asks all at the same time, each once.
pub fn send_all(target: &Target, bodies: &[String]) {
    std::thread::scope(|scope| {
        for body in bodies {
            scope.spawn(move || target.connect().ask(&question(body)));
        }
    });
}

/// What the threads of a process have run for, in seconds: to the nanosecond, by the scheduler.
fn processor_time(process: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
    let of_one = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(of_one).sum::<f64>() / 1e9
}
