//! A REST API that answers everything from constants, so that the program
//! before it is measured.
//!
//! `STUB_LISTEN` (address), `STUB_ITEM_BYTES` (how large the content of a single note is),
//! `STUB_CONSTANT_BYTES` (what is posted to `/mcp` gets that many bytes, so that it also stands
//! beside a server of lists; and `/v1/traces`, spans).

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use toolbridge_bench::{Connection, From, setting};

const UID: &str = "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11";
/// Of the notes in a page.
const CONTENT_BYTES: usize = 200;

struct Answers {
    opened: Vec<u8>,
    ended: Vec<u8>,
    ready: Vec<u8>,
    item: Vec<u8>,
    created: Vec<u8>,
    page: Vec<u8>,
    constant: Vec<u8>,
    traced: Vec<u8>,
    nothing: Vec<u8>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let bytes = |name| setting(name).parse().map_err(io::Error::other);
    let answers = Arc::new(Answers::new(bytes("STUB_ITEM_BYTES")?, bytes("STUB_CONSTANT_BYTES")?));
    let listener = TcpListener::bind(setting("STUB_LISTEN")).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            // How a connection ends is the client's business.
            let _ = serve(Connection::new(stream)?, &answers).await;
            io::Result::Ok(())
        });
    }
}

async fn serve(mut client: Connection, answers: &Answers) -> io::Result<()> {
    while let Some(request) = client.next(From::Client, "").await? {
        client.done(&request);
        client.send(answers.to(&request.method, &request.target)).await?;
    }
    Ok(())
}

impl Answers {
    fn new(bytes: usize, constant: usize) -> Self {
        let note = |content: usize| {
            json!({
                "uid": UID,
                "version": 1,
                "updatedAt": "2026-11-20T09:00:00.000Z",
                "payload": {
                    "title": "Groceries", "content": "x".repeat(content),
                    "tags": ["home", "weekly"], "status": "active",
                    "uid": UID, "updatedTs": "2026-11-20T09:00:00.000Z",
                    "sync": { "version": 1, "isDeleted": false },
                },
            })
        };
        let session = json!({
            "id": "4b2f7c0e9a1d4e5f8c3b6a7d0e1f2a3b", "userId": "bench", "epoch": 1,
            "createdAt": "2026-11-20T09:00:00.000Z", "expiresAt": "2026-11-20T09:30:00.000Z",
        });
        let page = json!({ "items": vec![note(CONTENT_BYTES); 50] });
        // The server is ready only if the API says that it accepted the signature.
        let ready = json!({ "status": "ready", "tenantSignature": "accepted" });
        Self {
            opened: http("201 Created", "X-Sync-Epoch: 1\r\n", &session),
            ended: b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            ready: http("200 OK", "", &ready),
            item: http("200 OK", "", &note(bytes)),
            created: http("201 Created", "", &note(CONTENT_BYTES)),
            page: http("200 OK", "", &page),
            // Two quotes are the rest of it.
            constant: http("200 OK", "", &Value::from("x".repeat(constant.saturating_sub(2)))),
            traced: http("200 OK", "", &json!({})),
            nothing: http("404 Not Found", "", &json!({ "error": "not found" })),
        }
    }

    fn to(&self, method: &str, target: &str) -> &[u8] {
        let path = target.split('?').next().unwrap_or_default();
        match (method, path) {
            ("POST", "/v1/sync/sessions") => &self.opened,
            ("DELETE", path) if path.starts_with("/v1/sync/sessions/") => &self.ended,
            ("GET", "/readyz") => &self.ready,
            ("GET", "/v1/notes") => &self.page,
            ("POST", "/v1/notes") => &self.created,
            ("GET", path) if path.starts_with("/v1/notes/") => &self.item,
            ("POST", "/mcp") => &self.constant,
            ("POST", "/v1/traces") => &self.traced,
            _ => &self.nothing,
        }
    }
}

fn http(status: &str, headers: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: \
         {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
