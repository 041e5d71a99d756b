//! The lines that the client reads. One task writes them all: a request that is cancelled in the middle of writing
//! would leave half a line, and the next one would spoil both.

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Lines that wait to be read. Whoever has more waits.
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
        // A client that has gone is noticed by whoever waits for `closed`.
        let _ = self.0.send(line).await;
    }

    /// The client reads no more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}
