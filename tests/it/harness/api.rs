//! The Go API: built once per run, started as often as a test needs one, and asked directly for
//! what is true.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, OnceLock};

use serde_json::Value;
use tokio::process::Command;

use super::process::{HANG_TIMEOUT, Process, Stdout};
use super::server::reserved_port;
use super::token::{SECRETS, User, now_ms, signature};

static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// To ask an API past the server. No connection is kept: the next one may be to another API at the
/// same address.
static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let http = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0);
    http.build().unwrap()
});

/// Builds the API. Go's own cache makes this quick when nothing has changed.
pub fn build() {
    std::fs::create_dir_all(temporary()).unwrap();
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolbridge-api");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("api");
    let built = std::process::Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg("./cmd/toolbridge-api")
        .current_dir(source)
        .status()
        .expect("go builds the API, so it has to be on the PATH");
    assert!(built.success(), "the API does not build");
    BINARY.set(binary).expect("built once");
}

/// Where this run keeps its files.
pub fn temporary() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("it-{}", std::process::id()))
}

pub fn remove_temporary() {
    let _ = std::fs::remove_dir_all(temporary());
}

pub struct Api {
    pub url: String,
    metrics: String,
    pub process: Process,
    database: PathBuf,
    settings: Vec<(String, String)>,
}

impl Api {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With some settings of its own, over those that the suite gives to every API.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let database = temporary().join(format!("{number}.db"));
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self::launch(
            &format!("127.0.0.1:{}", reserved_port()),
            database,
            settings,
        )
        .await
    }

    /// The same again, at the same address and with the same data.
    pub async fn restart(self) -> Self {
        self.process.stop().await;
        let address = self.url.trim_start_matches("http://").to_owned();
        Self::launch(&address, self.database.clone(), self.settings.clone()).await
    }

    /// The same, with other settings.
    pub async fn restart_with(mut self, settings: &[(&str, &str)]) -> Self {
        self.settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.restart().await
    }

    /// Another one on the same data, at the same port of another address of this machine.
    pub async fn start_at(&self, host: &str) -> Self {
        let port = self.url.rsplit(':').next().unwrap();
        Self::launch(
            &format!("{host}:{port}"),
            self.database.clone(),
            self.settings.clone(),
        )
        .await
    }

    async fn launch(address: &str, database: PathBuf, settings: Vec<(String, String)>) -> Self {
        let mut command = Command::new(BINARY.get().expect("a built API"));
        command
            .env_clear()
            .env("HTTP_ADDR", address)
            .env("METRICS_ADDR", "127.0.0.1:0")
            .env("DATABASE_URL", format!("sqlite://{}", database.display()))
            .env("JWT_HS256_SECRET", &SECRETS.jwt)
            .env("TENANT_HEADER_SECRET", &SECRETS.tenant)
            .env("RATE_LIMIT_PER_MINUTE", "0")
            .env("LOG_LEVEL", "debug")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .current_dir(temporary());
        let process = Process::start("toolbridge-api", command, Stdout::Log);
        let url = format!("http://{}", process.logged("listening", "address").await);
        let metrics = format!(
            "http://{}/metrics",
            process.logged("listening for metrics", "address").await
        );
        Self {
            url,
            metrics,
            process,
            database,
            settings,
        }
    }

    pub async fn stop(&self) {
        self.process.stop().await;
    }

    /// A session of one's own, past the server.
    pub async fn direct_client(&self, tenant: &str, user: &User) -> DirectClient {
        let mut direct = DirectClient {
            http: HTTP.clone(),
            url: self.url.clone(),
            tenant: tenant.to_owned(),
            token: user.token.clone(),
            session: None,
        };
        let (status, session) = direct.ask("POST", "/v1/sync/sessions", None).await;
        assert_eq!(status, 201, "{session}");
        let text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        direct.session = Some((text(&session["id"]), text(&session["epoch"])));
        direct
    }

    /// One question in a session of its own.
    pub async fn ask(
        &self,
        tenant: &str,
        user: &User,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let direct = self.direct_client(tenant, user).await;
        let answer = direct.ask(method, path, body).await;
        direct.end().await;
        answer
    }

    /// A figure from the metrics, all its labels added up.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = reqwest::get(&self.metrics)
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let of_this = |line: &&str| {
            line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"))
        };
        text.lines()
            .filter(of_this)
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until no session is open. Calls do not wait for the end of theirs.
    pub async fn until_no_session_is_open(&self) {
        let deadline = tokio::time::Instant::now() + HANG_TIMEOUT;
        loop {
            let open = self.metric("toolbridge_api_sessions_open").await;
            if open == 0.0 {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{open} sessions are still open"
            );
            tokio::task::yield_now().await;
        }
    }
}

/// The API without the server, as one user.
pub struct DirectClient {
    http: reqwest::Client,
    url: String,
    tenant: String,
    token: String,
    session: Option<(String, String)>,
}

impl DirectClient {
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.send(method, path, body.map(Value::to_string)).await
    }

    /// Replaces an item with JSON whose digits matter.
    pub async fn put_text(&self, path: &str, body: &str) {
        let (status, answer) = self.send("PUT", path, Some(body.to_owned())).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn send(&self, method: &str, path: &str, body: Option<String>) -> (u16, Value) {
        let now = now_ms().to_string();
        let mut request = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .header("x-tb-tenant-id", &self.tenant)
            .header("x-tb-timestamp", &now)
            .header(
                "x-tb-signature",
                signature(&SECRETS.tenant, &self.tenant, &now),
            );
        if let Some((id, epoch)) = &self.session {
            request = request
                .header("x-sync-session", id)
                .header("x-sync-epoch", epoch);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub async fn end(self) {
        if let Some((id, _)) = &self.session {
            self.ask("DELETE", &format!("/v1/sync/sessions/{id}"), None)
                .await;
        }
    }
}
