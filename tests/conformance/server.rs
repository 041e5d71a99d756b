//! `conformance-fixture PORT`, with the secret of its tokens in `JWT_HS256_SECRET`. Started by
//! `tests/conformance/run`.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args()
        .nth(1)
        .ok_or("a port is required")?
        .parse()?;
    let secret = std::env::var("JWT_HS256_SECRET")?;
    toolbridge_mcp::fixture::serve(port, &secret).await
}
