//! The least that a proxy in this place can do: parse, sign, open a session, fetch, answer, end the
//! session. No protocol library, no verification of tokens, no logs, no limits, no time-outs: what
//! it takes cannot be saved.
//!
//! `FLOOR_LISTEN`, `FLOOR_API` (addresses), `FLOOR_TENANT`, `FLOOR_SECRET`.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use tokio::net::TcpListener;
use toolbridge_bench::{Connection, From, setting};

struct Api {
    address: String,
    tenant: String,
    keyed: Hmac<Sha256>,
    idle: Mutex<Vec<Connection>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    name: &'a str,
    #[serde(borrow)]
    arguments: &'a RawValue,
}

#[derive(Deserialize)]
struct Uid<'a> {
    uid: &'a str,
}

#[derive(Deserialize)]
struct Page {
    limit: u64,
}

#[derive(Deserialize)]
struct Session<'a> {
    id: &'a str,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let api = Arc::new(Api {
        address: setting("FLOOR_API"),
        tenant: setting("FLOOR_TENANT"),
        keyed: Hmac::new_from_slice(setting("FLOOR_SECRET").as_bytes()).map_err(io::Error::other)?,
        idle: Mutex::default(),
    });
    let listener = TcpListener::bind(setting("FLOOR_LISTEN")).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            // How a connection ends is the client's business.
            let _ = serve(Connection::new(stream)?, api).await;
            io::Result::Ok(())
        });
    }
}

async fn serve(mut client: Connection, api: Arc<Api>) -> io::Result<()> {
    while let Some(request) = client.next(From::Client, "authorization").await? {
        let token = request.header.as_deref().unwrap_or_default();
        let answer = call(&api, client.body(&request), token).await?;
        client.done(&request);
        client.send(&answer).await?;
    }
    Ok(())
}

async fn call(api: &Arc<Api>, body: &[u8], token: &str) -> io::Result<Vec<u8>> {
    let call: Call<'_> = serde_json::from_slice(body)?;
    let arguments = call.params.arguments.get();
    let (method, target, sent) = match call.params.name {
        "get_note" => (
            "GET",
            format!("/v1/notes/{}", serde_json::from_str::<Uid<'_>>(arguments)?.uid),
            "",
        ),
        "list_notes" => (
            "GET",
            format!("/v1/notes?limit={}", serde_json::from_str::<Page>(arguments)?.limit),
            "",
        ),
        "create_note" => ("POST", "/v1/notes".to_owned(), arguments),
        other => return Err(io::Error::other(format!("no such tool: {other}"))),
    };

    let mut upstream = api.connection().await?;
    upstream
        .send(api.request("POST", "/v1/sync/sessions", token, "", "").as_bytes())
        .await?;
    let opened = upstream
        .next(From::Server, "x-sync-epoch")
        .await?
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let session = serde_json::from_slice::<Session<'_>>(upstream.body(&opened))?
        .id
        .to_owned();
    let epoch = opened.header.as_deref().unwrap_or_default();
    let within = format!("X-Sync-Session: {session}\r\nX-Sync-Epoch: {epoch}\r\n");
    upstream.done(&opened);

    upstream
        .send(api.request(method, &target, token, &within, sent).as_bytes())
        .await?;
    let reply = upstream
        .next(From::Server, "")
        .await?
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let answer = answer(call.id, upstream.body(&reply), reply.status)?;
    upstream.done(&reply);

    // The caller does not wait for the end of the session.
    let (api, token) = (Arc::clone(api), token.to_owned());
    tokio::spawn(async move {
        let target = format!("/v1/sync/sessions/{session}");
        upstream
            .send(api.request("DELETE", &target, &token, "", "").as_bytes())
            .await?;
        if let Some(ended) = upstream.next(From::Server, "").await? {
            upstream.done(&ended);
            api.keep(upstream);
        }
        io::Result::Ok(())
    });
    Ok(answer)
}

fn answer(id: &RawValue, item: &[u8], status: u16) -> io::Result<Vec<u8>> {
    let item = std::str::from_utf8(item).map_err(io::Error::other)?;
    let text = serde_json::to_string(item)?;
    let body = format!(
        concat!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[{{"type":"text","text":{}}}],"#,
            r#""structuredContent":{},"isError":{}}}}}"#
        ),
        id,
        text,
        item,
        status >= 400
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Ok([head.as_bytes(), body.as_bytes()].concat())
}

impl Api {
    async fn connection(&self) -> io::Result<Connection> {
        let kept = self.idle.lock().map_err(|_| io::ErrorKind::Other)?.pop();
        match kept {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.address).await,
        }
    }

    fn keep(&self, connection: Connection) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(connection);
        }
    }

    fn request(&self, method: &str, target: &str, token: &str, more: &str, body: &str) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let mut mac = self.keyed.clone();
        mac.update(format!("{}:{now}", self.tenant).as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: {token}\r\nX-TB-Tenant-ID: \
             {}\r\nX-TB-Timestamp: {now}\r\nX-TB-Signature: {signature}\r\n{more}Content-Length: \
             {}\r\n\r\n{body}",
            self.address,
            self.tenant,
            body.len()
        )
    }
}
