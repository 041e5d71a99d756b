//! The cases of `scripts/bench micro`. They are part of the library, since they use its private
//! modules, and exist only with the feature `internals`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark that cannot run says so loudly"
)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::api::Features;
use crate::api::headers::Headers;
use crate::api::signature::version2::{Bound, Hashed};
use crate::api::signature::{Signer, Versions};
use crate::auth::{Scopes, Settings, Verifier};
use crate::foundation::clock::Clock;
use crate::foundation::json::Json;
use crate::foundation::secret::Secret;
use crate::mcp::{ToolAccess, ToolFilter, ToolRegistry};
use crate::tools::{self, Catalogue, Limits, read_item, read_page};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const UID: &str = "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11";
const PAGE: usize = 50;

pub const NAMES: &[&str] = &[
    "sign a request, version 1",
    "sign a request, version 2",
    "sign a write of 1 KiB, both versions",
    "verify a token, HS256",
    "read the arguments of get_note",
    "read the arguments of create_note",
    "shape an item of 400 bytes",
    "shape an item of 1 MB",
    "shape a page of 50",
    "the list of tools, encoded",
    "the list of tools, encoded anew",
];

/// The case of one of the [`NAMES`], ready to be run again and again.
pub fn case(name: &str) -> Box<dyn FnMut()> {
    match name {
        "sign a request, version 1" => signing(Versions::V1, 0),
        "sign a request, version 2" => signing(Versions::V2, 0),
        "sign a write of 1 KiB, both versions" => signing(Versions::Both, 1024),
        "verify a token, HS256" => verifying(),
        "read the arguments of get_note" => preparing("get_note", json!({ "uid": UID })),
        "read the arguments of create_note" => preparing(
            "create_note",
            json!({ "title": "Groceries", "content": "x".repeat(200), "tags": ["home"] }),
        ),
        "shape an item of 400 bytes" => shaping(note(200), read_item),
        "shape an item of 1 MB" => shaping(note(1_000_000), |body, _| {
            read_item(
                body,
                &Limits {
                    max_result_bytes: 2 << 20,
                    ..Limits::default()
                },
            )
        }),
        "shape a page of 50" => shaping(json!({ "items": vec![note(200); PAGE] }), read_page),
        "the list of tools, encoded" => {
            let registry = registry();
            let reach = registry.reach(ToolAccess::ALL, &Scopes::All);
            Box::new(move || {
                std::hint::black_box(registry.encoded(reach));
            })
        }
        "the list of tools, encoded anew" => {
            let registry = registry();
            let reach = registry.reach(ToolAccess::ALL, &Scopes::All);
            Box::new(move || {
                std::hint::black_box(serde_json::to_vec(&registry.tools(reach)).unwrap());
            })
        }
        other => panic!("there is no case {other}"),
    }
}

fn registry() -> ToolRegistry {
    ToolRegistry::new(
        &tools::all(Limits::default()),
        &ToolFilter::default(),
        Features::ALL,
    )
}

fn catalogue() -> Catalogue {
    Catalogue::new(uuid::Uuid::now_v7, Features::NONE)
}

fn note(content: usize) -> Value {
    json!({
        "uid": UID, "version": 1, "updatedAt": "2026-11-20T09:00:00.000Z",
        "payload": { "title": "Groceries", "content": "x".repeat(content),
            "tags": ["home", "weekly"], "uid": UID },
    })
}

fn preparing(tool: &'static str, arguments: Value) -> Box<dyn FnMut()> {
    let catalogue = catalogue();
    let arguments = arguments.to_string();
    Box::new(move || {
        std::hint::black_box(catalogue.prepare(tool, Json::trusted(&arguments)).unwrap());
    })
}

fn shaping<T: 'static>(
    answer: Value,
    shape: impl Fn(&[u8], &Limits) -> T + 'static,
) -> Box<dyn FnMut()> {
    let body = Bytes::from(answer.to_string());
    Box::new(move || {
        std::hint::black_box(shape(&body, &Limits::default()));
    })
}

fn signing(versions: Versions, body: usize) -> Box<dyn FnMut()> {
    let signer = Signer::new(&Secret::new(SECRET), "bench", versions).unwrap();
    let (body, token) = (vec![b'x'; body], Hashed::of(b"a token"));
    Box::new(move || {
        let mut headers = Headers::of_a_request();
        let request = Bound {
            method: &http::Method::POST,
            target: "/v1/notes",
            body: &body,
            token: &token,
        };
        signer.sign(1_763_636_400_000, &request, &mut headers);
        std::hint::black_box(headers);
    })
}

fn verifying() -> Box<dyn FnMut()> {
    let settings = Settings {
        hs256_secret: Some(Secret::new(SECRET)),
        ..Settings::default()
    };
    let verifier = Verifier::new(&settings, "bench", Clock::system()).unwrap();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let in_a_day = Clock::system().now_secs() + 86_400;
    let signed = format!(
        "{}.{}",
        part(json!({ "alg": "HS256", "typ": "JWT" })),
        part(json!({ "sub": "ada", "exp": in_a_day, "tenant_id": "bench" }))
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let token = format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    );
    Box::new(move || {
        // A secret of ours is never waited for.
        let verified = futures::executor::block_on(verifier.verify(&token));
        std::hint::black_box(verified.unwrap());
    })
}
