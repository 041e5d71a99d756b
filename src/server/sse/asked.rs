//! The requests that the server has sent to the client of one stream, and that have no answer.

use std::collections::HashSet;

use parking_lot::Mutex;
use rmcp::model::{JsonRpcMessage, RequestId, ServerJsonRpcMessage, ServerNotification};

#[derive(Debug, Default)]
pub struct AskedRequests(Mutex<HashSet<RequestId>>);

impl AskedRequests {
    /// Notes a message that is sent: a request, or that one is withdrawn.
    pub fn note(&self, message: &ServerJsonRpcMessage) {
        match message {
            JsonRpcMessage::Request(request) => {
                self.0.lock().insert(request.id.clone());
            }
            JsonRpcMessage::Notification(notification) => {
                if let ServerNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.take(id);
                }
            }
            _ => {}
        }
    }

    /// Whether this request waits for its answer. It does no longer.
    pub fn take(&self, id: &RequestId) -> bool {
        self.0.lock().remove(id)
    }
}
