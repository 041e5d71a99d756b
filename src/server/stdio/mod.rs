//! MCP over stdin and stdout, for a client that starts this process itself.
//!
//! One message per line; nothing else may be written to the output. Who calls is settled by the server's
//! [`Callers::Fixed`](crate::mcp::Callers): one token for the life of the process.

pub mod bounded_lines;
pub mod stdio_transport;

use std::future::Future;
use std::time::Duration;

use rmcp::service::{ServerInitializeError, serve_server_with_ct};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use self::stdio_transport::Lines;
use crate::api::{ApiClient, Counts};
use crate::mcp::Server;

/// Serves until the input ends or `shutdown`, then ends the API's sessions within `drain`. An error means that the
/// client never said anything that begins a conversation.
pub async fn serve_stdio(
    server: Server,
    upstream: ApiClient,
    (input, output): (
        impl AsyncRead + Send + Unpin + 'static,
        impl AsyncWrite + Send + Unpin + 'static,
    ),
    max_message_bytes: usize,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> Result<Counts, Box<ServerInitializeError>> {
    let transport = Lines::new(input, output, max_message_bytes);
    let stop = CancellationToken::new();
    let serving = async {
        // rmcp lets calls that are under way finish when the input ends, for a few seconds; then they are stopped.
        let _stop = stop.clone().drop_guard();
        let conversation = serve_server_with_ct(server, transport, stop.clone()).await?;
        conversation.waiting().await.ok();
        Ok(())
    };
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = shutdown => {
            stop.cancel();
            serving.await
        }
    };
    let counts = upstream.drain(drain).await;
    match served {
        // Leaving before the conversation began, on either side's wish, is no failure.
        Ok(())
        | Err(ServerInitializeError::Cancelled | ServerInitializeError::ConnectionClosed(_)) => {
            Ok(counts)
        }
        Err(error) => Err(Box::new(error)),
    }
}
