//! Questions that are requests to a client, for which calls wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::RoleServer;
use rmcp::model::{ClientResult, ElicitRequest, ElicitationAction, ServerRequest};
use rmcp::service::{Peer, PeerRequestOptions, RequestHandle};
use tokio_util::sync::CancellationToken;

use crate::telemetry::tasks;

/// The most open questions of one caller. Each holds the arguments of its call.
const MAX_PER_CALLER: usize = 4;

/// The most open questions of all callers.
const MAX_OPEN: usize = 256;

#[derive(Debug, Default)]
pub struct OpenQuestions {
    callers: Arc<Mutex<HashMap<Arc<str>, usize>>>,
    stop: CancellationToken,
}

/// One open question. It counts until it is dropped.
#[derive(Debug)]
pub struct OpenQuestion {
    callers: Arc<Mutex<HashMap<Arc<str>, usize>>>,
    subject: Arc<str>,
    stop: CancellationToken,
}

impl OpenQuestions {
    /// `None` if there are too many.
    pub fn begin(&self, subject: &Arc<str>) -> Option<OpenQuestion> {
        let mut callers = self.callers.lock();
        let own = callers.get(subject).copied().unwrap_or_default();
        if own >= MAX_PER_CALLER || callers.values().sum::<usize>() >= MAX_OPEN {
            return None;
        }
        callers.insert(Arc::clone(subject), own + 1);
        Some(OpenQuestion {
            callers: Arc::clone(&self.callers),
            subject: Arc::clone(subject),
            stop: self.stop.clone(),
        })
    }

    /// Ends all open questions, and every later one at once.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        let mut callers = self.callers.lock();
        if let Some(open) = callers.get_mut(&self.subject) {
            *open -= 1;
            if *open == 0 {
                callers.remove(&self.subject);
            }
        }
    }
}

impl OpenQuestion {
    /// Whether the person agrees. `None` if there is no answer.
    pub async fn ask(
        self,
        peer: &Peer<RoleServer>,
        question: ElicitRequest,
        within: Duration,
    ) -> Option<bool> {
        let request = ServerRequest::ElicitRequest(question);
        let options = PeerRequestOptions::no_options();
        let sent = peer.send_cancellable_request(request, options).await.ok()?;
        let mut sent = Withdrawn(Some(sent));
        let answer = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            answer = tokio::time::timeout(within, &mut sent.0.as_mut()?.rx) => answer.ok()?,
        };
        // There is nothing to withdraw once the client has answered or is gone.
        sent.0.take();
        match answer.ok()? {
            Ok(ClientResult::ElicitResult(result)) => {
                Some(result.action == ElicitationAction::Accept)
            }
            _ => None,
        }
    }
}

/// A request that the client is told to forget when this is dropped, however the call ends. Without
/// it, a person would answer a question for which no call waits.
struct Withdrawn(Option<RequestHandle<RoleServer>>);

impl Drop for Withdrawn {
    fn drop(&mut self) {
        if let Some(sent) = self.0.take() {
            tasks::spawn("question", async move {
                // A client that is gone has forgotten it already.
                let _ = sent.cancel(Some("the call has ended".to_owned())).await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_the_questions_of_a_caller_and_of_all() {
        let questions = OpenQuestions::default();
        let ann: Arc<str> = "ann".into();
        let mut open: Vec<_> = (0..MAX_PER_CALLER)
            .map(|_| questions.begin(&ann).unwrap())
            .collect();
        assert!(questions.begin(&ann).is_none());
        assert!(questions.begin(&"bob".into()).is_some());
        open.pop();
        assert!(questions.begin(&ann).is_some());
        open.clear();
        let others: Vec<_> = (0..MAX_OPEN)
            .map(|number| questions.begin(&number.to_string().into()).unwrap())
            .collect();
        assert!(questions.begin(&ann).is_none());
        drop(others);
        assert!(questions.callers.lock().is_empty());
    }
}
