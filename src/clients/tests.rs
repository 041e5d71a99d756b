//! Tests of the clients' data against their documented formats, and of docs/CLIENTS.md against the
//! data.

use std::fmt::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use super::*;

/// The entry that the documentation shows.
fn example() -> Entry {
    Entry {
        name: "toolbridge".to_owned(),
        url: "https://acme.example.com/mcp".to_owned(),
        command: "/path/to/toolbridge-mcp".to_owned(),
        launcher: Vec::new(),
        token_file: "/path/to/token".to_owned(),
        local: None,
    }
}

/// An entry that needs quoting and escaping everywhere.
fn awkward() -> Entry {
    Entry {
        name: "a_b-1".to_owned(),
        url: "https://acme.example.com/it's/mcp".to_owned(),
        command: "/Users/me/My Programs/toolbridge-mcp".to_owned(),
        launcher: Vec::new(),
        token_file: "/Users/me/o'clock".to_owned(),
        local: None,
    }
}

fn snippet(client: &str, way: Way) -> Value {
    let recipe = Client::find(client).unwrap().recipe(way).unwrap();
    match recipe.snippet(&example()).unwrap() {
        Snippet::Json(value) => value,
        Snippet::Toml(text) => json!(toml::from_str::<toml::Table>(&text).unwrap()),
    }
}

fn links(entry: &Entry) -> Vec<(String, String)> {
    let steps = ALL
        .iter()
        .flat_map(|client| &client.recipes)
        .flat_map(|recipe| recipe.steps);
    let link = |step: &Step| match step {
        Step::Install { link, redirect, .. } => Some((link(entry), redirect(entry))),
        _ => None,
    };
    steps.filter_map(link).collect()
}

#[test]
fn every_client_has_every_way_with_steps() {
    for client in ALL {
        let ways: Vec<Way> = client.recipes.iter().map(|recipe| recipe.way).collect();
        assert_eq!(
            ways,
            [Way::Token, Way::OAuth, Way::Process],
            "{}",
            client.key
        );
        for recipe in &client.recipes {
            assert!(!recipe.steps.is_empty(), "{}", client.key);
        }
        assert_eq!(
            Client::find(client.key).map(|found| found.name),
            Some(client.name)
        );
    }
}

/// The format that each client reads, according to its own documentation.
#[test]
fn snippets_have_the_format_of_the_client() {
    let url = "https://acme.example.com/mcp";
    let process = json!({
        "command": "/path/to/toolbridge-mcp",
        "args": ["connect", url, "--token-file", "/path/to/token"],
    });
    let typed = |kind: &str| {
        let mut typed = json!({ "type": kind });
        typed
            .as_object_mut()
            .unwrap()
            .extend(process.as_object().unwrap().clone());
        typed
    };
    for (client, way, expected) in [
        (
            "claude-desktop",
            Way::Token,
            json!({"mcpServers": {"toolbridge": process}}),
        ),
        (
            "claude-desktop",
            Way::Process,
            json!({"mcpServers": {"toolbridge": process}}),
        ),
        (
            "claude-code",
            Way::Token,
            json!({"mcpServers": {"toolbridge": {"type": "http", "url": url,
                "headers": {"Authorization": "Bearer ${TOOLBRIDGE_TOKEN}"}}}}),
        ),
        (
            "claude-code",
            Way::Process,
            json!({"mcpServers": {"toolbridge": typed("stdio")}}),
        ),
        (
            "vscode",
            Way::Token,
            json!({
                "inputs": [{"type": "promptString", "id": "toolbridge-token",
                    "description": "ToolBridge token", "password": true}],
                "servers": {"toolbridge": {"type": "http", "url": url,
                    "headers": {"Authorization": "Bearer ${input:toolbridge-token}"}}},
            }),
        ),
        (
            "vscode",
            Way::OAuth,
            json!({"servers": {"toolbridge": {"type": "http", "url": url}}}),
        ),
        (
            "vscode",
            Way::Process,
            json!({"servers": {"toolbridge": typed("stdio")}}),
        ),
        (
            "cursor",
            Way::Token,
            json!({
                "mcpServers": {"toolbridge": {"url": url,
                    "headers": {"Authorization": "Bearer ${env:TOOLBRIDGE_TOKEN}"}}},
            }),
        ),
        (
            "cursor",
            Way::OAuth,
            json!({"mcpServers": {"toolbridge": {"url": url}}}),
        ),
        (
            "zed",
            Way::OAuth,
            json!({"context_servers": {"toolbridge": {"url": url}}}),
        ),
        (
            "codex",
            Way::Token,
            json!({"mcp_servers": {"toolbridge": {"url": url,
                "bearer_token_env_var": "TOOLBRIDGE_TOKEN"}}}),
        ),
        (
            "codex",
            Way::OAuth,
            json!({"mcp_servers": {"toolbridge": {"url": url}}}),
        ),
        (
            "codex",
            Way::Process,
            json!({"mcp_servers": {"toolbridge": process}}),
        ),
        (
            "gemini",
            Way::Token,
            json!({"mcpServers": {"toolbridge": {"type": "http", "url": url,
                "headers": {"Authorization": "Bearer ${TOOLBRIDGE_TOKEN}"}}}}),
        ),
        (
            "gemini",
            Way::OAuth,
            json!({"mcpServers": {"toolbridge": {"type": "http", "url": url}}}),
        ),
        (
            "gemini",
            Way::Process,
            json!({"mcpServers": {"toolbridge": process}}),
        ),
    ] {
        assert_eq!(snippet(client, way), expected, "{client} {way:?}");
    }
}

#[test]
fn links_contain_the_same_entry_as_the_file() {
    for (link, redirect) in links(&awkward()) {
        for address in [&link, &redirect] {
            let (_, query) = address.split_once('?').unwrap();
            for value in query
                .split('&')
                .map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value))
            {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~%".contains(c);
                assert!(
                    value.chars().all(plain),
                    "everything else is encoded: {value}"
                );
            }
        }
        let (link, redirect) = (Url::parse(&link).unwrap(), Url::parse(&redirect).unwrap());
        assert_eq!(redirect.scheme(), "https");
        let values = |url: &Url, key: &str| {
            let found = url.query_pairs().find(|(name, _)| name == key);
            found.map(|(_, value)| value.into_owned())
        };
        let (native, by_page) = match link.scheme() {
            "vscode" => {
                let query = link.query().unwrap();
                let decoded = url::form_urlencoded::parse(format!("q={query}").as_bytes())
                    .next()
                    .unwrap()
                    .1
                    .into_owned();
                let mut native: Value = serde_json::from_str(&decoded).unwrap();
                let object = native.as_object_mut().unwrap();
                assert_eq!(object.remove("name"), Some(json!("a_b-1")));
                let inputs =
                    values(&redirect, "inputs").map(|text| serde_json::from_str(&text).unwrap());
                assert_eq!(object.remove("inputs"), inputs);
                (native, values(&redirect, "config").unwrap())
            }
            "cursor" => {
                assert_eq!(values(&link, "name").as_deref(), Some("a_b-1"));
                let decode =
                    |text: String| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
                let native = decode(values(&link, "config").unwrap());
                (
                    serde_json::from_str(&native).unwrap(),
                    decode(values(&redirect, "config").unwrap()),
                )
            }
            other => panic!("{other} is no client's"),
        };
        assert_eq!(native, serde_json::from_str::<Value>(&by_page).unwrap());
        assert_eq!(values(&redirect, "name").as_deref(), Some("a_b-1"));
        let target = native.pointer("/url").or_else(|| native.pointer("/args/1"));
        assert_eq!(target, Some(&json!(awkward().url)), "{native}");
    }
    assert_eq!(links(&example()).len(), 6);
}

#[test]
fn toml_is_quoted() {
    let mut entry = awkward();
    entry.command = "C:\\it's \"here\"\n".to_owned();
    let recipe = Client::find("codex").unwrap().recipe(Way::Process);
    let Some(Snippet::Toml(text)) = recipe.unwrap().snippet(&entry) else {
        panic!("no text");
    };
    let table = toml::from_str::<toml::Table>(&text).unwrap();
    let server = json!({"command": entry.command, "args": entry.arguments()});
    assert_eq!(json!(table), json!({"mcp_servers": {"a_b-1": server}}));
}

/// The date is that of the source, since clients change every week.
#[test]
fn abilities_have_a_dated_source() {
    for client in ALL {
        let Some(abilities) = &client.abilities else {
            continue;
        };
        let year = abilities.source.rsplit(' ').next().unwrap();
        assert!(
            year.parse::<u16>().is_ok_and(|year| year >= 2026),
            "{}: {}",
            client.key,
            abilities.source
        );
    }
}

#[test]
fn shell_commands_are_quoted() {
    assert_eq!(
        awkward().command_line(),
        concat!(
            r"'/Users/me/My Programs/toolbridge-mcp' connect ",
            r"'https://acme.example.com/it'\''s/mcp' --token-file '/Users/me/o'\''clock'"
        )
    );
    for (name, good) in [
        ("toolbridge", true),
        ("a_b-1", true),
        ("", false),
        ("-a", false),
        ("a b", false),
        ("ä", false),
    ] {
        assert_eq!(is_name(name), good, "{name}");
    }
    assert!(!is_name(&"a".repeat(65)));
}

#[test]
fn backticks_in_sentences_are_paired() {
    let sentence_of = |step: &Step| match step {
        Step::Say(say) => *say,
        Step::Run { say, .. }
        | Step::Paste { say, .. }
        | Step::PasteToml { say, .. }
        | Step::Enter { say, .. }
        | Step::Install { say, .. } => say,
    };
    for recipe in ALL.iter().flat_map(|client| &client.recipes) {
        for sentence in recipe.steps.iter().map(sentence_of).chain(recipe.cannot) {
            assert_eq!(sentence.matches('`').count() % 2, 0, "{sentence}");
            assert!(!sentence.contains("  "), "{sentence}");
        }
    }
    let text = "a `b` c";
    assert_eq!(
        pieces(text).collect::<Vec<_>>(),
        [(false, "a "), (true, "b"), (false, " c")]
    );
}

#[test]
fn documentation_matches_the_data() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CLIENTS.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let mut generated = written.clone();
    for (name, text) in [("abilities", abilities()), ("clients", chapters())] {
        let (start, end) = (
            format!("<!-- {name}: start -->\n"),
            format!("<!-- {name}: end -->"),
        );
        let from = generated.find(&start).expect("the start mark") + start.len();
        let to = generated.find(&end).expect("the end mark");
        generated.replace_range(from..to, &format!("\n{text}\n"));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    } else {
        assert_eq!(
            written, generated,
            "run UPDATE_DOCS=1 cargo test --lib documentation"
        );
    }
}

fn abilities() -> String {
    let rows: Vec<_> = ALL
        .iter()
        .filter_map(|client| Some((client.name, client.abilities.as_ref()?.rows())))
        .collect();
    let headings = rows[0].1.map(|(heading, _)| heading).join(" | ");
    let mut table = format!("| client | {headings} |\n|---|---|---|---|---|---|---|\n");
    for (name, abilities) in rows {
        let _ = writeln!(
            table,
            "| {name} | {} |",
            abilities.map(|(_, can)| can).join(" | ")
        );
    }
    table
}

fn chapters() -> String {
    let entry = example();
    let mut text = String::new();
    for client in ALL {
        let _ = writeln!(text, "## {}", client.name);
        for recipe in &client.recipes {
            let _ = writeln!(text, "### {}", recipe.way.title());
            if let Some(cannot) = recipe.cannot {
                let _ = writeln!(text, "{}\n", in_lines(cannot));
            }
            for step in recipe.steps {
                text += &paragraph(step, &entry);
                text.push('\n');
            }
        }
    }
    let mut text = text.replace("\n\n\n", "\n\n");
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// In lines of 100 columns. Code is not broken.
fn in_lines(sentence: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut in_code = false;
    for word in sentence.split(' ') {
        match words.last_mut().filter(|_| in_code) {
            Some(code) => *code += &format!(" {word}"),
            None => words.push(word.to_owned()),
        }
        in_code ^= word.matches('`').count() % 2 == 1;
    }
    let (mut text, mut columns) = (String::new(), 0);
    for word in words {
        let length = word.chars().count();
        if columns + 1 + length > 100 {
            text.push('\n');
            columns = 0;
        } else if columns > 0 {
            text.push(' ');
            columns += 1;
        }
        text += &word;
        columns += length;
    }
    text
}

fn paragraph(step: &Step, entry: &Entry) -> String {
    match step {
        Step::Say(say) => format!("{}\n", in_lines(say)),
        Step::Run { say, line } => {
            let say = in_lines(say);
            format!("{say}\n\n```console\n{}\n```\n", line(entry))
        }
        Step::Paste { say, files, json } => {
            let mut table = String::new();
            for File { r#for, path } in *files {
                let _ = writeln!(table, "- {for}: `{path}`");
            }
            let json = serde_json::to_string_pretty(&json(entry)).unwrap();
            let say = in_lines(say);
            format!("{say}\n\n{table}\n```json\n{json}\n```\n")
        }
        Step::PasteToml { say, files, toml } => {
            let mut table = String::new();
            for File { r#for, path } in *files {
                let _ = writeln!(table, "- {for}: `{path}`");
            }
            let (say, toml) = (in_lines(say), toml(entry));
            format!("{say}\n\n{table}\n```toml\n{toml}\n```\n")
        }
        Step::Enter { say, fields } => {
            let mut list = String::new();
            for field in *fields {
                let _ = writeln!(list, "- {}: `{}`", field.label, (field.text)(entry));
            }
            format!("{}\n\n{list}", in_lines(say))
        }
        Step::Install {
            say,
            link,
            redirect,
        } => {
            let (say, link, redirect) = (in_lines(say), link(entry), redirect(entry));
            format!(
                "{say}\n\n```\n{link}\n```\n\nIf only `https` links are \
                 allowed:\n\n```\n{redirect}\n```\n"
            )
        }
    }
}
