//! The markup. Text in parentheses is escaped by the macro; only the embedded style and script are
//! not.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::policy::{ICON, SCRIPT, STYLE};
use super::{Page, Toolset, Visit};
use crate::clients::{self, Client, Entry, File, Recipe, Step, Way, pieces};

pub fn document(page: &Page, visit: &Visit<'_>) -> Markup {
    let entry = Entry {
        name: "toolbridge".to_owned(),
        url: visit.url.to_owned(),
        // A placeholder for the reader's own path: the path on this server must not be revealed.
        command: "/path/to/toolbridge-mcp".to_owned(),
        launcher: Vec::new(),
        token_file: "/path/to/token".to_owned(),
        local: None,
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex, nofollow";
                title { "ToolBridge" }
                link rel="icon" href=(*ICON);
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    p.brand { (mark()) "ToolBridge" }
                    (health(visit.ready))
                }
                main #main {
                    (introduction(&entry))
                    (connect(page, &entry))
                    (tools(&(page.toolsets)()))
                }
                footer {
                    p {
                        "For programs: "
                        a href="/healthz" { "/healthz" } ", "
                        a href="/readyz" { "/readyz" }
                        @if page.signs_in {
                            ", "
                            a href="/.well-known/oauth-protected-resource/mcp" { "OAuth metadata" }
                        }
                    }
                }
                p #said .unseen role="status" aria-live="polite" {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn mark() -> Markup {
    html! {
        svg viewBox="0 0 32 32" width="28" height="28" fill="none" stroke="currentColor"
            stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" {
            path d="M2 22h28M9 26V7M23 26V7M2 17Q8 15 9 7Q16 24 23 7Q24 15 30 17" {}
        }
    }
}

fn health(ready: bool) -> Markup {
    html! {
        @if ready {
            p.health { span.dot aria-hidden="true" {} "Ready" }
        } @else {
            p.health.waiting { span.dot aria-hidden="true" {} "Not ready" }
        }
    }
}

fn introduction(entry: &Entry) -> Markup {
    html! {
        section.introduction aria-labelledby="title" {
            h1 #title { "Your notes, tasks and chats, where your assistant can reach them" }
            p.lead {
                "ToolBridge keeps notes, tasks, comments and chats. This server gives them to AI \
                 assistants over the "
                a href="https://modelcontextprotocol.io" rel="noreferrer" { "Model Context \
                    Protocol" }
                ": what you ask for there is done here, as you and with your rights."
            }
            div.address {
                p { "The address of this server" }
                div.line {
                    code #address { (breakable(&entry.url)) }
                    (copy("address", "the address"))
                }
            }
        }
    }
}

/// Allows a line break in a long URL only after the scheme.
fn breakable(url: &str) -> Markup {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    html! { @if !scheme.is_empty() { (scheme) "://" wbr; } (rest) }
}

fn connect(page: &Page, entry: &Entry) -> Markup {
    html! {
        section #connect aria-labelledby="connect-title" {
            h2 #connect-title { "Connect a client" }
            p {
                @if page.signs_in {
                    "Clients that can sign in need the address alone. The others need a token, \
                     which you get from the operator of this server."
                } @else {
                    "You need a token, which you get from the operator of this server. It is kept \
                     where your client keeps secrets, and is part of none of these texts."
                }
            }
            nav #clients aria-label="Clients" {
                @for client in clients::ALL {
                    a #{ "tab-" (client.key) } href={ "#" (client.key) } { (client.name) }
                }
            }
            @for client in clients::ALL {
                section.client #(client.key) aria-labelledby={ (client.key) "-title" } {
                    h3 #{ (client.key) "-title" } { (client.name) }
                    (ways(page, client, entry))
                }
            }
        }
    }
}

/// OAuth comes first, since it needs no token. A way that the client does not support becomes a
/// sentence in the recipe of the process, or after the recipes if there is none.
fn ways(page: &Page, client: &Client, entry: &Entry) -> Markup {
    let offered = [Way::OAuth, Way::Token, Way::Process].into_iter();
    let offered = offered.filter(|way| page.signs_in || *way != Way::OAuth);
    let recipes: Vec<&Recipe> = offered.filter_map(|way| client.recipe(way)).collect();
    let (can, cannot): (Vec<_>, Vec<_>) = recipes
        .into_iter()
        .partition(|recipe| recipe.cannot.is_none());
    let limits: Vec<&str> = cannot.iter().filter_map(|recipe| recipe.cannot).collect();
    let has_process = can.iter().any(|recipe| recipe.way == Way::Process);
    html! {
        @for (index, recipe) in can.iter().enumerate() {
            details.way open[index == 0] {
                summary { h4 { (recipe.way.title()) } }
                @if recipe.way == Way::Process {
                    @for sentence in &limits { p.before { (formatted(sentence)) } }
                    p.before { "The process is " code { "toolbridge-mcp" } ", a program for \
                        macOS, Linux and Windows, which is among the files of a release. With \
                        Node.js, " code { "npx" } " can start it: the command is then "
                        code { "npx" } ", and its arguments begin with "
                        code { "-y @toolbridge/mcp" } "." }
                }
                ol.steps {
                    @for (number, step) in recipe.steps.iter().enumerate() {
                        li { (shown(step, client, &format!("{}-{index}-{number}", client.key),
                            entry)) }
                    }
                }
            }
        }
        @if !has_process {
            @for sentence in &limits { p.before { (formatted(sentence)) } }
            @if can.is_empty() { p.before { "This server offers no sign-in." } }
        }
    }
}

fn shown(step: &Step, client: &Client, id: &str, entry: &Entry) -> Markup {
    match step {
        Step::Say(say) => html! { p { (formatted(say)) } },
        Step::Run { say, line } => html! {
            p { (formatted(say)) }
            (block(id, &line(entry), "the command"))
        },
        Step::Paste { say, files, json } => file(id, say, files, &format!("{:#}", json(entry))),
        Step::PasteToml { say, files, toml } => file(id, say, files, &toml(entry)),
        Step::Enter { say, fields } => html! {
            p { (formatted(say)) }
            dl.fields {
                @for (index, field) in fields.iter().enumerate() {
                    @let id = format!("{id}-{index}");
                    div {
                        dt { (field.label) }
                        dd { code #(id) { ((field.text)(entry)) } (copy(&id, field.label)) }
                    }
                }
            }
        },
        // The redirect link is omitted, because it would reveal the server's address to the maker
        // of the client.
        Step::Install { say, link, .. } => html! {
            p { (formatted(say)) }
            p { a.button href=(link(entry)) { "Install in " (client.name) } }
        },
    }
}

fn file(id: &str, say: &str, files: &[File], text: &str) -> Markup {
    html! {
        p { (formatted(say)) }
        @if !files.is_empty() {
            dl.files {
                @for file in files { div { dt { (file.r#for) } dd { code { (file.path) } } } }
            }
        }
        (block(id, text, "the text for the file"))
    }
}

fn block(id: &str, text: &str, what: &str) -> Markup {
    html! {
        div.block {
            pre { code #(id) { (text) } }
            (copy(id, what))
        }
    }
}

/// Hidden until the script enables it.
fn copy(id: &str, what: &str) -> Markup {
    html! {
        button type="button" data-copy=(id) hidden { span { "Copy" } span.unseen { " " (what) } }
    }
}

fn formatted(sentence: &str) -> Markup {
    html! {
        @for (code, text) in pieces(sentence) {
            @if code { code { (text) } } @else { (text) }
        }
    }
}

fn tools(toolsets: &[Toolset]) -> Markup {
    let count: usize = toolsets.iter().map(|toolset| toolset.tools.len()).sum();
    html! {
        section #tools aria-labelledby="tools-title" {
            h2 #tools-title { "Tools" }
            p { "A connected assistant gets " (count) " tools. Those that write change what \
                ToolBridge keeps." }
            @for toolset in toolsets {
                @let writing = toolset.tools.iter().filter(|tool| tool.writes).count();
                details.toolset {
                    summary {
                        h3 { (toolset.label) }
                        span.count { (toolset.tools.len() - writing) " read, " (writing) " write" }
                    }
                    ul {
                        @for tool in &toolset.tools {
                            li {
                                code { (tool.name) }
                                @if tool.writes { span.access.writes { "writes" } }
                                @else { span.access { "reads" } }
                                span.about { (tool.first_sentence()) }
                            }
                        }
                    }
                }
            }
        }
    }
}
