//! Runs asynchronous tests on one runtime, with programs that they share.
//!
//! The programs are started once, before the first test, and looked at once more after the last,
//! which the usual runner has no place for. A panic is caught where it happens, so that a failure
//! says where and why.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::json;
use tokio::runtime::Runtime;

use super::client::{Client, Era, ToolClient, keep_schemas};
use super::{Api, Server, api};

/// Ends a test that hangs. It is far from what a test takes, even on a machine that does much else.
const TEST_TIMEOUT: Duration = Duration::from_secs(300);

pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap()
});

/// One API, and two tenants with a server each.
pub struct SharedPrograms {
    pub api: Api,
    pub acme: Server,
    pub globex: Server,
}

/// One test's faults are no reason to refuse the calls of the others.
const SHARED_SETTINGS: [(&str, &str); 1] = [("TOOLBRIDGE_API_BREAKER_FAILURES", "0")];

static SHARED: OnceLock<SharedPrograms> = OnceLock::new();

pub fn shared() -> &'static SharedPrograms {
    SHARED.get().expect("the programs have been started")
}

thread_local! {
    /// On the thread of a test: what it panicked with, for the report at the end.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static IN_TEST: Cell<bool> = const { Cell::new(false) };
}

pub fn begin() {
    std::panic::set_hook(Box::new(|panic| match IN_TEST.get() {
        true => PANIC.set(Some(panic.to_string())),
        false => eprintln!("{panic}"),
    }));
    api::build();
    let shared = RUNTIME.block_on(async {
        let api = Api::start().await;
        let (acme, globex) = tokio::join!(
            Server::with("acme", &api, &SHARED_SETTINGS),
            Server::with("globex", &api, &SHARED_SETTINGS)
        );
        let client = Client::modern(&acme);
        keep_schemas(&client.ask("tools/list", json!({})).await.result()["tools"]);
        SharedPrograms { api, acme, globex }
    });
    let _ = SHARED.set(shared);
}

pub fn end() {
    let shared = shared();
    RUNTIME.block_on(async {
        tokio::join!(shared.acme.stop(), shared.globex.stop());
        shared.api.stop().await;
    });
    api::remove_temporary();
}

/// A test. Its name begins with the module that it stands in.
pub fn trial<F: Future<Output = ()>>(
    module: &str,
    name: &str,
    test: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    trial_within(TEST_TIMEOUT, module, name, test)
}

/// One that may take its time.
pub fn trial_within<F: Future<Output = ()>>(
    longest: Duration,
    module: &str,
    name: &str,
    test: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    let module = module.split_once("::").map_or(module, |(_, inner)| inner);
    Trial::test(format!("{module}::{name}"), move || {
        let limited = || RUNTIME.block_on(async { tokio::time::timeout(longest, test()).await });
        IN_TEST.set(true);
        match catch_unwind(AssertUnwindSafe(limited)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Failed::from(format!("not done after {longest:?}"))),
            Err(_) => Err(Failed::from(PANIC.take().unwrap_or_default())),
        }
    })
}

/// `tests![one, another]`: what a module has to offer.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub fn tests() -> Vec<libtest_mimic::Trial> {
            vec![$($crate::harness::trial(module_path!(), stringify!($name), $name)),*]
        }
    };
}

/// Does the same in every era.
pub async fn in_every_era(server: &Server, mut test: impl AsyncFnMut(&Client<'_>)) {
    for era in Era::all() {
        let client = Client::new(server, era);
        test(&client).await;
        client.traffic().await;
    }
}
