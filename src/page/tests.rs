use super::policy::{SCRIPT, STYLE};
use super::*;
use crate::clients;

fn toolsets() -> Vec<Toolset> {
    let tool = |name: &str, description: &str, writes| Tool {
        name: name.to_owned(),
        description: description.to_owned(),
        writes,
    };
    vec![Toolset {
        label: "notes".to_owned(),
        tools: vec![
            tool("list_notes", "Lists <b>notes</b>. For models only.", false),
            tool("create_note", "Creates a note.", true),
        ],
    }]
}

fn rendered(signs_in: bool, url: &str, ready: bool) -> String {
    Page::new(toolsets, signs_in).render(&Visit { url, ready })
}

fn usual() -> String {
    rendered(true, "https://acme.example.com/mcp", true)
}

/// Every text between `start` and `end`.
fn between<'a>(text: &'a str, start: &str, end: char) -> Vec<&'a str> {
    let parts = text.split(start).skip(1);
    parts.map(|part| part.split(end).next().unwrap()).collect()
}

fn markup(page: &str) -> String {
    page.replace(STYLE, "").replace(SCRIPT, "")
}

#[test]
fn the_policy_allows_only_the_embedded_texts() {
    use base64::Engine;
    use sha2::{Digest, Sha256};
    let (page, policy) = (usual(), Page::new(Vec::new, false).policy);
    for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
        let (_, after) = page.split_once(&format!("<{tag}>")).unwrap();
        let (embedded, rest) = after.split_once(&format!("</{tag}>")).unwrap();
        assert!(!rest.contains(&format!("<{tag}")), "there is one {tag}");
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(embedded));
        assert!(
            policy.contains(&format!("{directive} 'sha256-{hash}';")),
            "{tag}: {policy}"
        );
    }
    for directive in ["default-src", "base-uri", "form-action", "frame-ancestors"] {
        assert!(policy.contains(&format!("{directive} 'none'")), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"),
        "{policy}"
    );
}

/// The policy would block them.
#[test]
fn no_element_has_an_inline_style_or_handler() {
    let markup = markup(&usual());
    assert!(!markup.contains(" style=") && !markup.contains(" src="));
    for after in markup.split(" on").skip(1) {
        let name = after.trim_start_matches(|c: char| c.is_ascii_lowercase());
        assert!(!name.starts_with('='), "on{after:.40}");
    }
}

#[test]
fn links_have_allowed_targets() {
    let links = usual();
    let links = between(&links, "href=\"", '"');
    let known = [
        "#",
        "/healthz",
        "/readyz",
        "/.well-known/",
        "https://modelcontextprotocol.io",
        "data:",
        "vscode:",
        "cursor://",
    ];
    for link in &links {
        assert!(known.iter().any(|known| link.starts_with(known)), "{link}");
    }
    for client in clients::ALL {
        assert!(
            links.contains(&format!("#{}", client.key).as_str()),
            "{}",
            client.key
        );
    }
}

#[test]
fn ids_are_unique_and_references_resolve() {
    let markup = markup(&usual());
    let mut ids = between(&markup, " id=\"", '"');
    for attribute in [" data-copy=\"", " aria-labelledby=\"", " href=\"#"] {
        for id in between(&markup, attribute, '"') {
            assert!(ids.contains(&id), "{attribute}{id}");
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn external_values_are_escaped() {
    let page = rendered(true, "https://a\"><script>alert(1)</script>&'/mcp", true);
    assert!(
        !page.contains("<script>alert") && !page.contains("a\">"),
        "the address"
    );
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;"));
    assert!(
        page.contains("Lists &lt;b&gt;notes&lt;/b&gt;.<"),
        "descriptions, of which a person gets one sentence"
    );
}

#[test]
fn shows_readiness_and_sign_in() {
    let sign_in = clients::Way::OAuth.title();
    let page = usual();
    assert!(page.contains("Ready") && !page.contains("Not ready") && page.contains(sign_in));
    let page = rendered(false, "https://acme.example.com/mcp", false);
    assert!(
        page.contains("Not ready") && !page.contains(sign_in) && !page.contains("/.well-known")
    );
}

#[test]
fn a_client_that_can_only_sign_in_has_its_limits_shown() {
    let chatgpt = clients::Client::find("chatgpt").unwrap();
    for (signs_in, note) in [(true, false), (false, true)] {
        let page = rendered(signs_in, "https://acme.example.com/mcp", true);
        for recipe in &chatgpt.recipes {
            assert!(recipe.cannot.is_none_or(|cannot| page.contains(cannot)));
        }
        assert_eq!(page.contains("offers no sign-in"), note);
    }
}

/// Without a script the page must still show everything: each client, each way, each tool.
#[test]
fn the_response_contains_everything() {
    let page = usual();
    for client in clients::ALL {
        assert!(
            page.contains(&format!(">{}</h3>", client.name)),
            "{}",
            client.key
        );
        for recipe in &client.recipes {
            let text = recipe.cannot.unwrap_or(recipe.way.title());
            assert!(page.contains(text), "{} {:?}", client.key, recipe.way);
        }
    }
    assert!(page.contains("1 read, 1 write") && page.contains("create_note"));
}
