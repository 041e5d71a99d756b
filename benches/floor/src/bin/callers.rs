//! Callers that ask one thing again and again, each waiting for its answer: over plain JSON, or
//! over the streams of 2024-11-05, so that the two are measured by the same hand. wrk knows no
//! streams.
//!
//! `CALLERS_SERVER` (address), `CALLERS_TOKEN`, `CALLERS_WAY` (`json` or `sse`), `CALLERS_COUNT`,
//! `CALLERS_SECONDS`, `CALLERS_BODY` (the message, with the id 1). Prints one line of JSON.

use std::io;
use std::time::{Duration, Instant};

use toolbridge_bench::{Connection, From, setting};

const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","#,
    r#""capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#
);
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

#[derive(Clone)]
struct Plan {
    server: String,
    token: String,
    body: String,
    until: Instant,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let seconds: u64 = setting("CALLERS_SECONDS").parse().map_err(io::Error::other)?;
    let count: usize = setting("CALLERS_COUNT").parse().map_err(io::Error::other)?;
    let streams = setting("CALLERS_WAY") == "sse";
    let began = Instant::now();
    let plan = Plan {
        server: setting("CALLERS_SERVER"),
        token: setting("CALLERS_TOKEN"),
        body: setting("CALLERS_BODY"),
        until: began + Duration::from_secs(seconds),
    };
    let callers: Vec<_> = (0..count)
        .map(|_| {
            let plan = plan.clone();
            tokio::spawn(async move {
                if streams {
                    over_a_stream(plan).await
                } else {
                    over_json(plan).await
                }
            })
        })
        .collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await.map_err(io::Error::other)??);
    }
    took.sort_unstable();
    let at = |part: f64| {
        took.get((took.len() as f64 * part) as usize)
            .map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    println!(
        r#"{{"calls":{},"seconds":{:.6},"p50":{:.1},"p99":{:.1}}}"#,
        took.len(),
        began.elapsed().as_secs_f64(),
        at(0.5),
        at(0.99)
    );
    Ok(())
}

async fn over_json(plan: Plan) -> io::Result<Vec<Duration>> {
    let mut connection = Connection::open(&plan.server).await?;
    let request = plan.post("/mcp", "MCP-Protocol-Version: 2025-11-25\r\n", &plan.body);
    let mut took = Vec::new();
    while Instant::now() < plan.until {
        let begun = Instant::now();
        connection.send(request.as_bytes()).await?;
        let answer = connection
            .next(From::Server, "")
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        good(answer.status == 200, connection.body(&answer))?;
        connection.done(&answer);
        took.push(begun.elapsed());
    }
    Ok(took)
}

async fn over_a_stream(plan: Plan) -> io::Result<Vec<Duration>> {
    let (mut stream, mut posts) = (
        Connection::open(&plan.server).await?,
        Connection::open(&plan.server).await?,
    );
    let open = format!(
        "GET /sse HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: \
         text/event-stream\r\n\r\n",
        plan.server, plan.token
    );
    stream.send(open.as_bytes()).await?;
    if stream.head_only().await? != 200 {
        return Err(io::Error::other("no stream"));
    }
    let mut events = Events::default();
    let endpoint = events.next(&mut stream).await?;
    for message in [INITIALIZE, INITIALIZED] {
        plan.hand_in(&mut posts, &plan.post(&endpoint, "", message)).await?;
        if message == INITIALIZE {
            events.next(&mut stream).await?;
        }
    }
    let request = plan.post(&endpoint, "", &plan.body);
    let mut took = Vec::new();
    while Instant::now() < plan.until {
        let begun = Instant::now();
        plan.hand_in(&mut posts, &request).await?;
        let answer = events.next(&mut stream).await?;
        good(true, answer.as_bytes())?;
        took.push(begun.elapsed());
    }
    Ok(took)
}

impl Plan {
    fn post(&self, target: &str, more: &str, body: &str) -> String {
        format!(
            "POST {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: \
             application/json\r\nAccept: application/json, \
             text/event-stream\r\n{more}Content-Length: {}\r\n\r\n{body}",
            self.server,
            self.token,
            body.len()
        )
    }

    async fn hand_in(&self, posts: &mut Connection, request: &str) -> io::Result<()> {
        posts.send(request.as_bytes()).await?;
        let answer = posts
            .next(From::Server, "")
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let taken = answer.status == 202;
        posts.done(&answer);
        if taken {
            Ok(())
        } else {
            Err(io::Error::other("a message was not taken"))
        }
    }
}

fn good(status: bool, body: &[u8]) -> io::Result<()> {
    let body = String::from_utf8_lossy(body);
    if status && body.contains(r#""isError":false"#) {
        Ok(())
    } else {
        Err(io::Error::other(body))
    }
}

/// The data of each event of a stream whose body comes in chunks. A chunk is an event or a part of
/// one.
#[derive(Default)]
struct Events(Vec<u8>);

impl Events {
    async fn next(&mut self, stream: &mut Connection) -> io::Result<String> {
        loop {
            let text = std::str::from_utf8(&self.0).map_err(io::Error::other)?;
            if let Some(end) = text.find("\n\n") {
                let data = text[..end]
                    .lines()
                    .find_map(|line| line.strip_prefix("data:"))
                    .map(|data| data.trim().to_owned());
                self.0.drain(..end + 2);
                match data {
                    Some(data) => return Ok(data),
                    // A comment, to keep the stream alive.
                    None => continue,
                }
            }
            let bytes = stream.more().await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.0.extend(bytes);
        }
    }
}
