//! The requests that the server has sent to the client of one stream.

use std::collections::HashSet;

use parking_lot::Mutex;
use rmcp::model::{JsonRpcMessage, RequestId, ServerJsonRpcMessage, ServerNotification};

/// How a response relates to the requests on its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseMatch {
    /// Its request waits for it.
    Expected,
    /// It is the second one, or its request has been withdrawn. Such responses come from correct
    /// clients, which take a refusal for the end of the conversation.
    Stale,
    /// No request was ever sent on this stream.
    Unsolicited,
}

#[derive(Debug, Default)]
pub struct AskedRequests(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    /// The requests without a response.
    open: HashSet<RequestId>,
    /// Whether there has been one.
    any: bool,
}

impl AskedRequests {
    /// Notes a message that is sent: a request, or that one is withdrawn.
    pub fn note(&self, message: &ServerJsonRpcMessage) {
        match message {
            JsonRpcMessage::Request(request) => {
                let mut asked = self.0.lock();
                asked.any = true;
                asked.open.insert(request.id.clone());
            }
            JsonRpcMessage::Notification(notification) => {
                if let ServerNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.0.lock().open.remove(id);
                }
            }
            _ => {}
        }
    }

    /// Takes a response to the request with this id.
    pub fn answer(&self, id: &RequestId) -> ResponseMatch {
        let mut asked = self.0.lock();
        if asked.open.remove(id) {
            ResponseMatch::Expected
        } else if asked.any {
            ResponseMatch::Stale
        } else {
            ResponseMatch::Unsolicited
        }
    }
}
