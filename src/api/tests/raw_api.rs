//! An API that answers with arbitrary bytes. Each connection has a thread of its own, so the server
//! does not depend on the event loop of the client under test.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Ends a hang only.
const HANG_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct RawApi {
    address: SocketAddr,
    closed: watch::Receiver<BTreeSet<usize>>,
}

/// A request as received.
#[derive(Debug)]
pub struct RawRequest {
    /// Method and target: `GET /v1/notes`.
    pub line: String,
    pub correlation_id: String,
    /// Index of the connection, from zero.
    pub connection: usize,
}

impl RawApi {
    /// Starts the server. `serve` answers each request; the connection stays open unless `serve`
    /// closes it.
    pub fn start(serve: impl Fn(&RawRequest, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (closing, closed) = watch::channel(BTreeSet::new());
        let (serve, closing) = (Arc::new(serve), Arc::new(closing));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (mut stream, serve, closing) =
                    (stream.unwrap(), Arc::clone(&serve), Arc::clone(&closing));
                stream.set_nodelay(true).unwrap();
                std::thread::spawn(move || {
                    while let Some(raw_request) = read(&mut stream, number) {
                        serve(&raw_request, &mut stream);
                    }
                    closing.send_modify(|closed| {
                        closed.insert(number);
                    });
                });
            }
        });
        Self { address, closed }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the client has closed the connection.
    pub async fn until_closed(&self, connection: usize) {
        let mut closed = self.closed.clone();
        let closed = closed.wait_for(|closed| closed.contains(&connection));
        tokio::time::timeout(HANG_TIMEOUT, closed)
            .await
            .unwrap()
            .unwrap();
    }
}

impl RawRequest {
    /// The answer of an API that conforms to the contract.
    pub fn proper_answer(&self) -> String {
        self.answer(&format!("X-Correlation-ID: {}\r\n", self.correlation_id))
    }

    /// The same answer with `lines` in place of the correlation id.
    pub fn answer(&self, lines: &str) -> String {
        if self.line.starts_with("DELETE ") {
            return format!("HTTP/1.1 204 No Content\r\n{lines}\r\n");
        }
        let (status, body) = if self.is_opening() {
            ("201 Created", "{\"id\":\"s\",\"epoch\":1}".to_owned())
        } else {
            ("200 OK", self.body())
        };
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {length}\r\n\r\n{body}")
    }

    pub fn is_opening(&self) -> bool {
        self.line == "POST /v1/sync/sessions"
    }

    /// Names the request and its call.
    pub fn body(&self) -> String {
        format!("{} for {}", self.line, self.correlation_id)
    }
}

/// Reads the next request and discards its body. `None` if the client has closed the connection.
fn read(stream: &mut TcpStream, connection: usize) -> Option<RawRequest> {
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    let head = loop {
        let end = received.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            break String::from_utf8(received.drain(..end + 4).collect()).unwrap();
        }
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => received.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    };
    let field = |name: &str| {
        let named = |line: &str| {
            line.split_once(": ")
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
        };
        head.lines().find_map(named).unwrap_or_default()
    };
    let length: usize = field("content-length").parse().unwrap_or_default();
    stream
        .read_exact(&mut vec![0; length - received.len()])
        .ok()?;
    let line = head.lines().next().unwrap();
    Some(RawRequest {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        correlation_id: field("x-correlation-id"),
        connection,
    })
}

/// Waits, without the event loop, until the client socket has received everything that was written.
#[cfg(target_os = "linux")]
pub fn until_arrived(stream: &TcpStream) {
    use std::net::IpAddr;

    let entry = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => format!(
            "{:08X}:{:04X}",
            u32::from_le_bytes(ip.octets()),
            address.port()
        ),
        IpAddr::V6(_) => panic!("{address}"),
    };
    let ends = [stream.local_addr().unwrap(), stream.peer_addr().unwrap()].map(entry);
    let started = std::time::Instant::now();
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let ours = |line: &&str| {
            line.split_whitespace()
                .skip(1)
                .take(2)
                .eq(ends.iter().map(String::as_str))
        };
        // The queue of bytes written and not yet acknowledged.
        let queues = table
            .lines()
            .find(ours)
            .and_then(|line| line.split_whitespace().nth(4));
        if queues.unwrap().starts_with("00000000:") {
            return;
        }
        assert!(started.elapsed() < HANG_TIMEOUT);
        std::thread::yield_now();
    }
}

pub fn write(stream: &mut TcpStream, text: &str) {
    // The client may have closed the connection.
    let _ = stream.write_all(text.as_bytes());
}
