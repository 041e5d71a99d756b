//! Writes the lines that the client reads. A single task writes, because a request that is
//! cancelled while it writes would leave half a line.

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Lines queued for the client. A full queue blocks the sender.
const WAITING: usize = 16;

#[derive(Clone)]
pub struct Output(mpsc::Sender<String>);

impl Output {
    pub fn start(mut to: impl AsyncWrite + Send + Unpin + 'static) -> (Self, JoinHandle<()>) {
        let (sender, mut lines) = mpsc::channel::<String>(WAITING);
        let writing = tokio::spawn(async move {
            while let Some(mut line) = lines.recv().await {
                line.push('\n');
                let written = async {
                    to.write_all(line.as_bytes()).await?;
                    to.flush().await
                };
                if let Err(error) = written.await {
                    tracing::debug!(%error, "the client reads no more");
                    return;
                }
            }
        });
        (Self(sender), writing)
    }

    pub async fn line(&self, line: String) {
        // An error means that the client is gone, which `closed` reports.
        let _ = self.0.send(line).await;
    }

    /// Resolves when the client has closed the pipe.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}
