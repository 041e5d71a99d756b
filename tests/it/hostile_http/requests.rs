//! Invalid requests: a table of those that must be refused, and a mutator for others.

/// Always the same, so that what fails once fails again.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// A good request, in the parts that are spoilt one by one.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// Without those that say how long the body is.
    pub headers: Vec<String>,
    pub body: String,
}

impl Request {
    pub fn new(method: &str, target: &str, headers: &[&str], body: &str) -> Self {
        let headers = headers.iter().map(|header| (*header).to_owned()).collect();
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: body.to_owned(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.with(
            &[&format!("Content-Length: {}", self.body.len())],
            &self.body,
        )
    }

    fn with(&self, more: &[&str], body: &str) -> Vec<u8> {
        self.lined(
            &format!("{} {} HTTP/1.1", self.method, self.target),
            more,
            body,
        )
    }

    fn lined(&self, line: &str, more: &[&str], body: &str) -> Vec<u8> {
        let headers = self
            .headers
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied());
        let head: Vec<&str> = std::iter::once(line).chain(headers).collect();
        format!("{}\r\n\r\n{body}", head.join("\r\n")).into_bytes()
    }

    /// With a length that is right, and a request line or more headers that are not.
    fn spoilt_by(&self, line: Option<String>, more: &[&str]) -> Vec<u8> {
        let length = format!("Content-Length: {}", self.body.len());
        let line = line.unwrap_or_else(|| format!("{} {} HTTP/1.1", self.method, self.target));
        self.lined(&line, &[more, &[&length]].concat(), &self.body)
    }
}

/// Requests that must be refused, by name: two readers could understand each of them differently.
pub fn malformed(good: &Request) -> Vec<(String, Vec<u8>)> {
    let Request {
        method,
        target,
        body,
        ..
    } = good;
    let length = body.len();
    let chunked = |chunks: &str| good.with(&["Transfer-Encoding: chunked"], chunks);
    let mut all = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>| all.push((name, bytes));
    for line in [
        format!("{method} {target}"),
        format!("{method} {target} HTTP/3.0"),
        format!("{method} {target} HTTP/1.2"),
        format!("{method} {target} http/1.1"),
        format!("{method} {target} HTTP/1.1 x"),
        format!("{method} {target} HTTPS/1.1"),
        format!("{method}  {target} HTTP/1.1"),
        format!("{method}\t{target}\tHTTP/1.1"),
        format!("{method} {target}\0 HTTP/1.1"),
        format!("{method} {target} x HTTP/1.1"),
        format!("{method}\0 {target} HTTP/1.1"),
        format!("({method}) {target} HTTP/1.1"),
        format!(" {method} {target} HTTP/1.1"),
        format!("{method} mcp HTTP/1.1"),
        format!("{method} http:// HTTP/1.1"),
        format!("{method} {target}{} HTTP/1.1", "x".repeat(100_000)),
        format!("{} {target} HTTP/1.1", "X".repeat(100_000)),
    ] {
        add(
            format!("line {}", &line[..line.len().min(60)]),
            good.spoilt_by(Some(line), &[]),
        );
    }
    for header in [
        "No-Colon",
        ": no name",
        "Space : before the colon",
        "Na me: x",
        "Name\0: x",
        "Name: x\0y",
        "Name: x\ry",
        "N\u{e9}: x",
        "Name: x\u{7f}y",
        "(Name): x",
        "Content-Length: x",
        "Content-Length: -1",
        "Content-Length: +1",
        "Content-Length: 0x10",
        "Content-Length: 1_0",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999999",
        "Content-Length: 1",
        "Content-Length: 1, 2",
        "Content-Length:",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
    ] {
        add(
            format!("header {header:?}"),
            good.spoilt_by(None, &[header]),
        );
    }
    let huge = format!("X-Filler: {}", "x".repeat(2 << 20));
    add(
        "a header without end".into(),
        good.spoilt_by(None, &[&huge]),
    );
    let many: Vec<String> = (0..5_000)
        .map(|number| format!("X-{number}: {}", "x".repeat(250)))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    add("headers without end".into(), good.spoilt_by(None, &many));
    for chunks in [
        "x\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n\0",
    ] {
        add(format!("chunks {chunks:?}"), chunked(chunks));
    }
    // One reader sees a length, the other chunks, and what is left over looks like a request of its
    // own.
    let hidden = String::from_utf8(good.bytes()).unwrap();
    for [one, other] in [
        ["Transfer-Encoding: xchunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked", "Content-Length: x"],
        ["Transfer-Encoding: \"chunked\"", "Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 4"],
    ] {
        add(
            format!("{one}, {other}"),
            good.with(&[one, other], &format!("0\r\n\r\n{hidden}")),
        );
    }
    add(
        "not HTTP: TLS".into(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20),
    );
    add(
        "not HTTP: HTTP/2".into(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
    );
    add("not HTTP: zeros".into(), vec![0; 1000]);
    add(
        "not HTTP: SSH".into(),
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec(),
    );
    add(
        "not HTTP: proxy".into(),
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
    );
    add(
        "HTTP/0.9".into(),
        format!("GET {target}\r\n\r\n").into_bytes(),
    );
    assert!(length > 4, "the lengths above are wrong ones");
    all
}

/// Pieces that turn up where they do not belong.
const STRANGE: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"\x0b",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"Content-Length: 7\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close, X-TB-Tenant-ID\r\n",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \
     AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    b"Host: evil.example\r\n",
    b" folded\r\n",
    b"0\r\n\r\n",
    b"ffffffff\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"%00%2e%2e%2f",
];

/// The same with one to four things done to it.
pub fn mutated(good: &[Request], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = good[rng.below(good.len())].bytes();
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len() + 1);
        let end = (at + 1 + rng.below(40)).min(bytes.len());
        match rng.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, rng.one_of(&STRANGE).iter().copied())),
            2 => drop(bytes.splice(at..end, rng.one_of(&STRANGE).iter().copied())),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again.repeat(1 + rng.below(200))));
            }
            5 => {
                let other = good[rng.below(good.len())].bytes();
                bytes.extend(&other[rng.below(other.len())..]);
            }
            6 => bytes
                .iter_mut()
                .skip(at)
                .take(3)
                .for_each(|byte| *byte = rng.next().to_le_bytes()[0]),
            _ => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << rng.below(8)),
        }
    }
    bytes
}
