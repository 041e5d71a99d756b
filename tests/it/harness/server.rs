//! One tenant's server, the forwarder behind it, and what it takes to start them.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::process::Command;

use super::api::{Api, temporary};
use super::forwarder::Forwarder;
use super::process::{Process, Stdout, record_log};
use super::token::{SECRETS, User};

/// The binary under test, with an empty environment.
pub fn binary(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolbridge-mcp"));
    command.args(words).env_clear().current_dir(temporary());
    command
}

/// Every forwarder behind a server that signs as it should, with the tenant that it signs for.
static FORWARDERS: Mutex<Vec<(String, Forwarder)>> = Mutex::new(Vec::new());

pub fn forwarders() -> Vec<(String, Forwarder)> {
    FORWARDERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Every audit trail that a server of the suite was told to write.
static TRAILS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

pub fn trails() -> Vec<PathBuf> {
    TRAILS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// For one server.
pub fn new_trail() -> String {
    let mut all = TRAILS.lock().unwrap_or_else(PoisonError::into_inner);
    let path = temporary().join(format!("audit-{}.jsonl", all.len()));
    all.push(path.clone());
    path.display().to_string()
}

/// A free port that stays free when its program has ended: the system gives ports of its own choice
/// from 32768 on.
pub fn reserved_port() -> String {
    let mut ports = (20_000..30_000_u16).skip(usize::from(std::process::id() as u16 % 5_000));
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    static TAKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let port = ports
        .find(|port| !taken.contains(port) && free(port))
        .unwrap();
    taken.push(port);
    port.to_string()
}

pub struct Server {
    pub tenant: String,
    pub url: String,
    pub forwarder: Forwarder,
    pub process: Process,
    environment: Vec<(String, String)>,
}

impl Server {
    pub async fn start(tenant: &str, api: &Api) -> Self {
        Self::with(tenant, api, &[]).await
    }

    /// With some settings of its own.
    pub async fn with(tenant: &str, api: &Api, settings: &[(&str, &str)]) -> Self {
        let forwarder = Forwarder::start(&api.url).await;
        let environment = environment(tenant, &forwarder.url, settings);
        Self::launch(tenant, forwarder, environment).await
    }

    /// Behind a forwarder of one's own, at a port that is its own when it is started again.
    pub async fn with_forwarder(
        forwarder: Forwarder,
        tenant: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let port = reserved_port();
        let settings = [settings, &[("TOOLBRIDGE_PORT", &port)]].concat();
        let environment = environment(tenant, &forwarder.url, &settings);
        Self::launch(tenant, forwarder, environment).await
    }

    /// The same again once it has ended.
    pub async fn restart(self) -> Self {
        Self::launch(&self.tenant, self.forwarder, self.environment).await
    }

    /// Nothing between the server and the API.
    pub async fn without_forwarder(tenant: &str, api: &Api, settings: &[(&str, &str)]) -> Self {
        let forwarder = Forwarder::start(&api.url).await;
        let environment = environment(tenant, &api.url, settings);
        Self::launch(tenant, forwarder, environment).await
    }

    /// Nothing between the server and an API that it knows by a name, which means what the file of
    /// hosts says.
    pub async fn with_hosts_file(
        tenant: &str,
        api: &Api,
        url: &str,
        hosts: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        // Its own mount of the file, which ends with it.
        const SEES: &str = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
        let forwarder = Forwarder::start(&api.url).await;
        let environment = environment(tenant, url, settings);
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c", SEES, "sh"])
            .arg(hosts)
            .args([env!("CARGO_BIN_EXE_toolbridge-mcp"), "serve"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(temporary());
        Self::launch_as(command, tenant, forwarder, environment).await
    }

    async fn launch(
        tenant: &str,
        forwarder: Forwarder,
        environment: Vec<(String, String)>,
    ) -> Self {
        Self::launch_as(binary(&["serve"]), tenant, forwarder, environment).await
    }

    async fn launch_as(
        mut command: Command,
        tenant: &str,
        forwarder: Forwarder,
        environment: Vec<(String, String)>,
    ) -> Self {
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let is_tenant_secret = |(name, value): &(String, String)| {
            name.ends_with("HEADER_SECRET") && *value == SECRETS.tenant
        };
        if environment.iter().any(is_tenant_secret) {
            let mut all = FORWARDERS.lock().unwrap_or_else(PoisonError::into_inner);
            // It is the same one when a server is started again.
            if all.iter().all(|(_, known)| known.url != forwarder.url) {
                all.push((tenant.to_owned(), forwarder.clone()));
            }
        }
        let process = Process::start("toolbridge-mcp serve", command, Stdout::Log);
        let address = process.logged("listening on", "address").await;
        assert!(
            !address.ends_with(":0"),
            "the port that was really bound is logged"
        );
        Self {
            tenant: tenant.to_owned(),
            url: format!("http://{address}"),
            forwarder,
            process,
            environment,
        }
    }

    /// A new user of this tenant.
    pub fn new_user(&self) -> User {
        User::of(&self.tenant)
    }

    pub fn mcp(&self) -> String {
        format!("{}/mcp", self.url)
    }

    /// Where its audit trail is.
    pub fn trail(&self) -> PathBuf {
        let mut told = self.environment();
        told.find(|(name, _)| *name == "TOOLBRIDGE_AUDIT_TO")
            .unwrap()
            .1
            .into()
    }

    /// What the server was told; a command beside it is told the same.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub async fn stop(&self) {
        self.process.stop().await;
    }
}

fn environment(tenant: &str, api: &str, settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let trail = new_trail();
    let usual = [
        ("TOOLBRIDGE_TENANT_ID", tenant),
        ("TOOLBRIDGE_TENANT_HEADER_SECRET", &SECRETS.tenant),
        ("JWT_HS256_SECRET", &SECRETS.jwt),
        ("TOOLBRIDGE_GO_API_BASE_URL", api),
        ("TOOLBRIDGE_HOST", "127.0.0.1"),
        ("TOOLBRIDGE_PORT", "0"),
        ("TOOLBRIDGE_METRICS_ADDR", "127.0.0.1:0"),
        ("TOOLBRIDGE_AUDIT_TO", &trail),
    ];
    let own = |name: &str| settings.iter().any(|(own, _)| *own == name);
    let kept = usual.into_iter().filter(|(name, _)| !own(name));
    kept.chain(settings.iter().copied())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What a command that ran to its end said.
pub struct CommandOutput {
    pub words: String,
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl CommandOutput {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("no JSON ({why}):\n{self}"))
    }

    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self}");
        self
    }
}

impl std::fmt::Display for CommandOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            words,
            code,
            out,
            err,
        } = self;
        write!(f, "$ toolbridge-mcp {words}\n{out}{err}[exit {code}]")
    }
}

/// Runs the binary to its end. What it prints for a person is no log; what it says on standard
/// error is.
pub async fn run(
    words: &[&str],
    environment: impl IntoIterator<Item = (&str, &str)>,
) -> CommandOutput {
    let mut command = binary(words);
    command.envs(environment).stdin(std::process::Stdio::null());
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().await.unwrap();
    let err = String::from_utf8(stderr).unwrap();
    // The command for the next page is part of the answer, although it is said beside it.
    let logged: Vec<_> = err
        .lines()
        .filter(|line| !line.starts_with("more: "))
        .collect();
    record_log(
        &format!("toolbridge-mcp {}", words.first().unwrap_or(&"")),
        &logged.join("\n"),
    );
    CommandOutput {
        words: words.join(" "),
        code: status.code().expect("an exit code"),
        out: String::from_utf8(stdout).unwrap(),
        err,
    }
}
