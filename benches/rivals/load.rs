//! Clients that do as little as they can, and what the kernel says of a process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// docker-registry hides what isn't named here.
const ACCEPT: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

/// One connection, kept alive.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    host: String,
    /// The last `Location`.
    pub(crate) location: Option<String>,
    /// What came last.
    pub(crate) buffer: Vec<u8>,
}

/// What came for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    /// From the request to the first byte of the body, or to the end of the head where there is none.
    pub(crate) first: Duration,
    pub(crate) total: Duration,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a socket");
        Self { stream, host: address.to_string(), location: None, buffer: vec![0; 256 * 1024] }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", &[])
    }

    /// Sends a request and reads the answer to its end, which needs a `Content-Length`.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let start = Instant::now();
        let (status, length, mut came) = self.head(method, path, headers, body);
        let mut first = start.elapsed();
        let mut is_first = came == 0;
        while came < length {
            let read = self.stream.read(&mut self.buffer).expect("bytes");
            assert!(read > 0, "{method} {path} broke off after {came} of {length} bytes");
            if std::mem::take(&mut is_first) {
                first = start.elapsed();
            }
            came += read as u64;
        }
        Answer { status, bytes: came, first, total: start.elapsed() }
    }

    /// Sends a request and reads the head. Answers the status, the announced length, and how much of the body has come.
    pub(crate) fn head(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, u64, u64) {
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\naccept: {ACCEPT}\r\n{headers}{length}\r\n",
            self.host
        )
        .into_bytes();
        // A small body goes with the head; a large one isn't copied.
        let (with, rest) =
            if body.len() <= self.buffer.len() { (body, &body[..0]) } else { (&body[..0], body) };
        request.extend_from_slice(with);
        self.stream.write_all(&request).and_then(|()| self.stream.write_all(rest)).expect("written");
        let mut filled = 0;
        let end = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).expect("a head");
            assert!(read > 0, "{method} {path}: closed without an answer");
            filled += read;
            if let Some(at) = self.buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        let value = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            lines
                .into_iter()
                .find(|(found, _)| found.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
        };
        let length = value("content-length").filter(|_| method != "HEAD");
        let length = length.map_or(0, |text| text.parse().expect("a length"));
        self.location = value("location");
        (status, length, (filled - end) as u64)
    }
}

/// How long one tick of the kernel's accounts is: `USER_HZ` is 100 wherever Linux runs.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process, of threads that have ended too. It counts in ticks, so what is measured must be
/// many of them.
pub(crate) fn cpu(process: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process lives");
    // The name, in parentheses, may have anything in it.
    let (_, fields) = text.rsplit_once(')').expect("a line of fields");
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse().expect("ticks"))
        .fold(Duration::ZERO, |sum, ticks: u32| sum + TICK * ticks)
}

/// A line of a process's status, in KiB: `VmRSS`, `RssAnon`.
pub(crate) fn memory(process: u32, line: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    let line = text.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    line.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok()).expect("kilobytes")
}
