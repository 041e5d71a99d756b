//! The `search` command: the tool of that name, for people.

use std::io;

use clap::Args;
use serde_json::{Map, Value, json};

use super::call::{command_line, failed, perform};
use super::credentials::Credentials;
use super::exit::CliError;
use super::output::{HEADING, NAME, Output, QUIET, fitted, styled};
use super::render::{USUAL_WIDTH, next_page, text_of, timestamp};
use super::wiring::CallAnswer;
use super::{CommandContext, Settings};
use crate::foundation::json::Json;

#[derive(Debug, Args)]
#[command(after_help = "\
Words:
  All words must match, in any form. \"a phrase\", a OR b, -word, pre*, ( )
  Quote the query for your shell if it has these signs; after -- a word may begin with \"-\".

Examples:
  toolbridge-mcp search battery warranty
  toolbridge-mcp search 'invoice OR receipt' --kind note --tag taxes --as ada
  toolbridge-mcp search --kind task --status open --order due
  toolbridge-mcp search launch --limit 0 --group-by kind --json

To read a result: toolbridge-mcp call fetch id=note/UID")]
pub struct Search {
    /// What to look for; without it, the filters alone
    words: Vec<String>,
    /// note, task, comment, chat or chat_message; may be given more than once
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// A tag that must be there; may be given more than once
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Exactly this status
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// relevance, newest, oldest or due
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
    /// Count by kind, status, priority, tag, parent or month
    #[arg(long, value_name = "FIELD")]
    group_by: Option<String>,
    /// Also archived items
    #[arg(long)]
    archived: bool,
    /// Most results, 0 to 50
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Continue where a page ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Print the result, or the error, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    credentials: Credentials,
}

pub fn run(
    search: &Search,
    settings: &Settings,
    context: &mut CommandContext,
) -> Result<(), CliError> {
    let arguments = Value::Object(search.arguments()).to_string();
    match perform("search", arguments, &search.credentials, settings, context)? {
        CallAnswer::Result(text) if search.json => Ok(context
            .output
            .json_text(&Json::trusted(&text).to_pretty())?),
        CallAnswer::Result(text) => {
            let found = Json::trusted(&text).to_value().unwrap_or_default();
            Ok(show(&mut context.output, &found, |cursor| {
                search.next_page(settings, cursor)
            })?)
        }
        CallAnswer::Error(body) => Err(failed(&body, search.json, context)?),
    }
}

impl Search {
    fn arguments(&self) -> Map<String, Value> {
        let mut arguments = Map::new();
        let mut insert = |name: &str, value: Value| {
            arguments.insert(name.to_owned(), value);
        };
        if !self.words.is_empty() {
            insert("query", self.words.join(" ").into());
        }
        for (name, list) in [("kinds", &self.kind), ("tags", &self.tag)] {
            if !list.is_empty() {
                insert(name, json!(list));
            }
        }
        for (name, text) in [
            ("status", &self.status),
            ("order", &self.order),
            ("group_by", &self.group_by),
            ("cursor", &self.cursor),
        ] {
            if let Some(text) = text {
                insert(name, text.as_str().into());
            }
        }
        if self.archived {
            insert("include_archived", true.into());
        }
        if let Some(limit) = self.limit {
            insert("limit", limit.into());
        }
        arguments
    }

    /// The command line for the next page.
    fn next_page(&self, settings: &Settings, cursor: &str) -> Option<String> {
        let mut words = vec!["toolbridge-mcp".to_owned(), "search".to_owned()];
        let mut flag = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
        self.kind.iter().for_each(|kind| flag("--kind", kind));
        self.tag.iter().for_each(|tag| flag("--tag", tag));
        for (name, value) in [
            ("--status", &self.status),
            ("--order", &self.order),
            ("--group-by", &self.group_by),
        ] {
            if let Some(value) = value {
                flag(name, value);
            }
        }
        if let Some(limit) = self.limit {
            flag("--limit", &limit.to_string());
        }
        flag("--cursor", cursor);
        if self.archived {
            words.push("--archived".to_owned());
        }
        words.extend(settings.words());
        words.extend(self.credentials.words());
        words.push("--".to_owned());
        words.extend(self.words.iter().cloned());
        command_line(&words)
    }
}

/// Two lines for each result, then the counts and what may help.
fn show(
    output: &mut Output,
    found: &Value,
    more: impl Fn(&str) -> Option<String>,
) -> io::Result<()> {
    let width = output.width.unwrap_or(USUAL_WIDTH);
    let list = |key: &str| {
        found
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    for result in list("results") {
        let id = text_of(result, "id");
        let mut line = format!("{}  {}", styled(NAME, id), text_of(result, "title"));
        for key in ["status", "due_date"] {
            let text = text_of(result, key);
            if !text.is_empty() {
                line += &styled(QUIET, format!("  {text}"));
            }
        }
        line += &styled(
            QUIET,
            format!("  {}", timestamp(&text_of(result, "updated_at"))),
        );
        output.line(line)?;
        let snippet = text_of(result, "snippet");
        if !snippet.trim().is_empty() {
            output.line(format!(
                "    {}",
                fitted(snippet.trim(), width.saturating_sub(4))
            ))?;
        }
    }
    if found.get("groups").is_some() {
        output.line(styled(HEADING, "COUNT  VALUE"))?;
    }
    for group in list("groups") {
        let value = match group.get("value") {
            None | Some(Value::Null) => "(none)".to_owned(),
            Some(_) => text_of(group, "value"),
        };
        output.line(format!("{:>5}  {value}", text_of(group, "count")))?;
    }
    let matches = match text_of(found, "total").as_str() {
        "1" => "1 match".to_owned(),
        total => format!("{total} matches"),
    };
    output.note(styled(QUIET, matches))?;
    if let (Some(indexed), true) = (found.get("indexed"), list("results").next().is_some()) {
        let (done, total) = (text_of(indexed, "done"), text_of(indexed, "total"));
        let progress = format!("only {done} of {total} items are indexed so far");
        output.note(styled(QUIET, progress))?;
    }
    for hint in list("hints") {
        output.note(styled(QUIET, format!("hint: {}", text_of(hint, "message"))))?;
    }
    next_page(output, found, more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::captured;

    fn search(words: &[&str]) -> (Search, Settings) {
        let words = ["toolbridge-mcp", "search"].iter().chain(words);
        let cli = crate::cli::parse(words.map(Into::into)).unwrap();
        match cli.command {
            crate::cli::Command::Search(search) => (search, cli.settings),
            _ => unreachable!(),
        }
    }

    #[test]
    fn flags_become_arguments() {
        let (search, settings) = search(&[
            "launch",
            "OR",
            "start",
            "--kind",
            "note",
            "--kind",
            "task",
            "--limit",
            "5",
            "--archived",
            "--as",
            "ada",
        ]);
        assert_eq!(
            Value::Object(search.arguments()),
            json!({
                "query": "launch OR start", "kinds": ["note", "task"], "limit": 5,
                "include_archived": true,
            })
        );
        assert_eq!(
            search.next_page(&settings, "abc").unwrap(),
            "toolbridge-mcp search --kind note --kind task --limit 5 --cursor abc --archived \
             --as ada -- launch OR start"
        );
    }

    #[test]
    fn results_of_an_index_that_is_not_complete_say_so() {
        let found = serde_json::json!({
            "results": [{"id": "note/1", "title": "Lamp"}], "total": 1,
            "indexed": {"done": 20, "total": 300},
        });
        let notes = captured(None, |output| show(output, &found, |_| None)).err;
        assert_eq!(notes, "1 match\nonly 20 of 300 items are indexed so far\n");
        let nothing = serde_json::json!({
            "results": [], "total": 0, "indexed": {"done": 20, "total": 300},
            "hints": [{"reason": "indexing", "message": "only 20 of 300 items"}],
        });
        let notes = captured(None, |output| show(output, &nothing, |_| None)).err;
        assert_eq!(notes, "0 matches\nhint: only 20 of 300 items\n");
    }

    #[test]
    fn without_words_the_filters_alone() {
        let (search, _) = search(&["--status", "open", "--order", "due"]);
        assert_eq!(
            Value::Object(search.arguments()),
            json!({"status": "open", "order": "due"})
        );
    }
}
