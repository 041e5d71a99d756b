//! `/`: when the page is served, its headers and the address it names.

use super::*;
use crate::page::Page;
use crate::workers::Workers;

/// A server with a page; stops when dropped.
struct Shown {
    api: ScriptedApi,
    address: SocketAddr,
    http: reqwest::Client,
}

impl Shown {
    async fn start(settings: Settings) -> Self {
        let api = ScriptedApi::start().await;
        let url = api.url();
        Self::before(api, url, settings).await
    }

    async fn before(api: ScriptedApi, base_url: String, settings: Settings) -> Self {
        let api_settings = api::Settings {
            base_url: base_url.parse().unwrap(),
            ..api_settings(&api)
        };
        let api_client = api_client_with(api_settings);
        let server = mcp::Server::new(
            all_tools(),
            api_client.clone(),
            Callers::Request,
            &mcp::Settings::default(),
        );
        let challenge = Challenge::new(&auth_settings(), Resource::default());
        let app = App::new(settings, verifier(), challenge, api_client, server)
            .with_page(Page::new(Vec::new, false));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let forever = without_notice(Duration::from_secs(1));
        tokio::spawn(serve(
            listener,
            app,
            Workers::none(),
            std::future::pending(),
            forever,
        ));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { api, address, http }
    }

    async fn named(&self, host: &str) -> reqwest::Response {
        let request = self
            .http
            .get(format!("http://{}/", self.address))
            .header("host", host);
        request
            .header("x-forwarded-host", "evil.example")
            .send()
            .await
            .unwrap()
    }

    async fn page(&self, host: &str) -> String {
        let response = self.named(host).await;
        assert_eq!(response.status(), 200, "{host}");
        response.text().await.unwrap()
    }
}

#[tokio::test]
async fn restricts_the_page_by_its_headers() {
    let shown = Shown::start(Settings::default()).await;
    let response = shown.named("localhost").await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert!(header("content-security-policy").starts_with("default-src 'none'; "));
    for (name, value) in crate::page::HEADERS {
        assert_eq!(header(name), value, "{name}");
    }
    assert!(response.headers().get("set-cookie").is_none());
    assert!(response.headers().get("server").is_none());
}

#[tokio::test]
async fn the_page_accepts_only_reads() {
    let shown = Shown::start(Settings::default()).await;
    let url = format!("http://{}/", shown.address);
    let head = shown.http.head(&url).send().await.unwrap();
    assert_eq!(
        (
            head.status().as_u16(),
            head.headers()["content-type"].as_bytes()
        ),
        (200, &b"text/html; charset=utf-8"[..])
    );
    assert_eq!(head.text().await.unwrap(), "");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let response = shown
            .http
            .request(method.parse().unwrap(), &url)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "GET, HEAD");
    }
    let foreign = shown
        .http
        .get(&url)
        .header("origin", "https://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), 403);
}

#[tokio::test]
async fn without_a_page_the_path_is_not_found() {
    let stack = Stack::start().await;
    assert_eq!(
        stack
            .http
            .get(stack.url("/"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    stack.stop().await;
}

#[tokio::test]
async fn names_the_public_address_or_the_requested_one() {
    let shown = Shown::start(Settings {
        allowed_hosts: vec!["acme.internal".to_owned()],
        ..Settings::default()
    })
    .await;
    for (host, url) in [
        ("localhost:8001", "http://localhost:8001/mcp"),
        ("[::1]:8001", "http://[::1]:8001/mcp"),
        ("10.1.2.3", "http://10.1.2.3/mcp"),
        ("Acme.Internal:8443", "https://acme.internal:8443/mcp"),
    ] {
        // The page has a line-break opportunity after the scheme.
        let (scheme, rest) = url.split_once("://").unwrap();
        let page = shown.page(host).await;
        assert!(
            page.contains(&format!("{scheme}://<wbr>{rest}</code>")),
            "{host}"
        );
        assert!(!page.contains("evil.example"));
    }
    for host in ["evil.example", "a\"><script>", "x@localhost", ""] {
        let response = shown.named(host).await;
        assert_eq!(response.status(), 403, "{host}");
        assert!(
            !response.text().await.unwrap().contains("<script"),
            "{host}"
        );
    }

    let public = Shown::start(Settings {
        public_url: "https://acme.example.com".parse().ok(),
        ..Settings::default()
    })
    .await;
    for host in ["localhost", "acme.example.com"] {
        let page = public.page(host).await;
        assert!(
            page.contains("https://acme.example.com/mcp") && !page.contains("localhost"),
            "{host}"
        );
    }
}

/// Even if every host name is accepted, it is escaped.
#[tokio::test]
async fn escapes_the_requested_host_name() {
    let shown = Shown::start(Settings {
        allowed_hosts: vec!["*".to_owned()],
        ..Settings::default()
    })
    .await;
    let page = shown.page("a&b'c").await;
    assert!(page.contains("https://<wbr>a&amp;b'c/mcp</code>") && !page.contains("a&b"));
}

#[tokio::test]
async fn shows_the_cached_readiness() {
    let shown = Shown::start(Settings {
        timeouts: Timeouts {
            readiness_ttl: Duration::from_secs(60),
            ..Timeouts::default()
        },
        ..Settings::default()
    })
    .await;
    for _ in 0..20 {
        assert!(!shown.page("localhost").await.contains("Not ready"));
    }
    assert_eq!(shown.api.lines(), ["GET /readyz", "GET /v1/sync/info"]);

    let vacant = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let alone = Shown::before(
        ScriptedApi::start().await,
        format!("http://{vacant}"),
        Settings::default(),
    )
    .await;
    assert!(alone.page("localhost").await.contains("Not ready"));
}
