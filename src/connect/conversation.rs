//! The state that the bridge keeps between messages: what client and server have negotiated.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

use super::message::{Id, Message};
use super::parameters::Parameters;

pub const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

#[derive(Debug, Default)]
pub struct Conversation(Mutex<Agreed>);

#[derive(Debug, Default, Clone)]
struct Agreed {
    /// The client's `initialize` request, to be replayed when the server has lost the session.
    initialize: Option<Message>,
    /// The legacy revision that `initialize` negotiated.
    version: Option<HeaderValue>,
    /// Only of a server that keeps sessions; ToolBridge is stateless.
    session: Option<HeaderValue>,
    /// The modern revision of the latest message that declares one, for messages that declare none.
    modern: Option<String>,
    /// What of a tool's arguments goes into headers.
    parameters: Parameters,
    /// The requests of the server that the client has not answered.
    asked: HashSet<Id>,
}

impl Conversation {
    /// The headers that depend on the message.
    pub fn headers(&self, message: &Message) -> HeaderMap {
        let mut agreed = self.lock();
        if let Some(modern) = &message.modern {
            agreed.modern = Some(modern.clone());
        }
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: Option<HeaderValue>| {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        };
        let legacy = agreed.version.is_some() || message.is("initialize");
        let modern = message
            .modern
            .as_ref()
            .or(agreed.modern.as_ref().filter(|_| !legacy));
        let text = |text: &str| HeaderValue::from_str(text).ok();
        if let Some(modern) = modern {
            put(VERSION, text(modern));
            put(METHOD, message.method.as_deref().and_then(text));
            put(NAME, message.name.as_deref().and_then(text));
            if message.is("tools/call") {
                headers.extend(agreed.parameters.headers(&message.body));
            }
        } else if !message.is("initialize") {
            put(VERSION, agreed.version.clone());
            put(SESSION, agreed.session.clone());
        }
        headers
    }

    /// Stores what the server's response to `initialize` negotiated.
    pub fn set_negotiated(&self, initialize: &Message, session: Option<HeaderValue>, answer: &str) {
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let Some(version) = answer
            .pointer("/result/protocolVersion")
            .and_then(Value::as_str)
        else {
            return;
        };
        let mut agreed = self.lock();
        agreed.initialize = Some(initialize.clone());
        agreed.version = HeaderValue::from_str(version).ok();
        agreed.session = session;
        agreed.modern = None;
    }

    /// Reads a list of tools on its way to the client, which gets the returned one, if there is
    /// one.
    pub fn learn_tools(&self, answer: &str) -> Option<String> {
        self.lock().parameters.learn(answer)
    }

    /// Notes a request of the server.
    pub fn ask(&self, id: Id) {
        self.lock().asked.insert(id);
    }

    /// Whether a request of the server waits for its response. It does no longer.
    pub fn settle(&self, id: &Id) -> bool {
        self.lock().asked.remove(id)
    }

    pub fn session(&self) -> Option<HeaderValue> {
        self.lock().session.clone()
    }

    /// The `initialize` request to replay, if `lost` is still the current session. `None` if it has
    /// been replaced already.
    pub fn initialize_again(&self, lost: &HeaderValue) -> Option<Message> {
        let agreed = self.lock();
        let current = agreed.session.as_ref() == Some(lost);
        agreed.initialize.clone().filter(|_| current)
    }

    fn lock(&self) -> MutexGuard<'_, Agreed> {
        self.0.lock()
    }
}
