//! MCP over stdin and stdout, for a client that starts this process.
//!
//! Each line is one message; nothing else may be written to stdout.
//! [`Callers::Fixed`](crate::mcp::Callers) sets the caller: one token for the life of the process.

pub mod bounded_lines;
pub mod stdio_transport;

use std::future::Future;
use std::time::Duration;

use rmcp::service::{ServerInitializeError, serve_server_with_ct};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use self::stdio_transport::StdioTransport;
use crate::api::{ApiClient, Counts};
use crate::mcp::Server;

/// Serves until the input ends or `shutdown` completes, then closes the API's sessions within
/// `drain`. An error means that the client sent no valid first message.
pub async fn serve_stdio(
    server: Server,
    api_client: ApiClient,
    (input, output): (
        impl AsyncRead + Send + Unpin + 'static,
        impl AsyncWrite + Send + Unpin + 'static,
    ),
    max_message_bytes: usize,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> Result<Counts, Box<ServerInitializeError>> {
    let transport = StdioTransport::new(input, output, max_message_bytes);
    let stop = CancellationToken::new();
    let serving = async {
        // At the end of the input rmcp lets running calls finish for a few seconds; dropping the
        // guard then cancels them.
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
    let counts = api_client.drain(drain).await;
    match served {
        // An end before the handshake is no error, whichever side caused it.
        Ok(())
        | Err(ServerInitializeError::Cancelled | ServerInitializeError::ConnectionClosed(_)) => {
            Ok(counts)
        }
        Err(error) => Err(Box::new(error)),
    }
}
