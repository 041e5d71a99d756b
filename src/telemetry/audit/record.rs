//! What a line says of a call: who, which tool, which item, what came of it. Names and numbers only; nothing of what a
//! call carries ever gets here, since [`Call`] has no place for it.

use std::time::SystemTime;

use uuid::Uuid;

use super::chain::Event;
use crate::telemetry::fields;
use crate::telemetry::json::{push, push_member};
use crate::telemetry::timestamp::Stamp;

/// A call that has ended, in the words of its line in the log.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub correlation_id: &'a str,
    pub user: &'a str,
    /// What the client calls itself, made harmless already.
    pub client: Option<&'a str>,
    pub transport: &'a str,
    pub tool: &'a str,
    pub item: Option<Uuid>,
    pub outcome: &'a str,
    pub error_code: Option<&'a str>,
    /// What the API answered to a call that failed there.
    pub status: Option<u16>,
    /// None of a call that was refused before it began.
    pub duration_ms: Option<f64>,
}

impl Call<'_> {
    /// The members of its line, in their order.
    pub fn members(&self, tenant: &str) -> String {
        let mut line = event(Event::Call);
        push_member(&mut line, fields::TENANT, tenant);
        push_member(&mut line, fields::USER, self.user);
        push_member(&mut line, fields::TRANSPORT, self.transport);
        if let Some(client) = self.client {
            push_member(&mut line, fields::CLIENT, client);
        }
        push_member(&mut line, fields::TOOL, self.tool);
        if let Some(item) = self.item {
            let mut text = Uuid::encode_buffer();
            push_member(
                &mut line,
                fields::ITEM,
                item.hyphenated().encode_lower(&mut text),
            );
        }
        push_member(&mut line, fields::OUTCOME, self.outcome);
        if let Some(code) = self.error_code {
            push_member(&mut line, fields::ERROR_CODE, code);
        }
        if let Some(status) = self.status {
            number(&mut line, fields::STATUS, status);
        }
        if let Some(duration) = self.duration_ms {
            number(&mut line, fields::DURATION_MS, duration);
        }
        push_member(&mut line, fields::CORRELATION_ID, self.correlation_id);
        line
    }
}

/// The members that every line begins with.
pub fn event(event: Event) -> String {
    let mut line = String::with_capacity(384);
    line.extend(["\"", fields::TIME, "\":\""]);
    line.push_str(Stamp::of(SystemTime::now()).as_str());
    line.push('"');
    push_member(&mut line, fields::EVENT, event.as_str());
    line
}

/// The same, with a number.
pub fn counted(kind: Event, name: &str, count: u64) -> String {
    let mut line = event(kind);
    number(&mut line, name, count);
    line
}

fn number(line: &mut String, name: &str, value: impl std::fmt::Display) {
    line.extend([",\"", name, "\":"]);
    push(line, value);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_order_of_members_is_fixed_and_what_is_not_known_is_left_out() {
        let all = Call {
            correlation_id: "c-1",
            user: "a\"d\na",
            client: Some("suite"),
            transport: "http",
            tool: "get_note",
            item: Some(Uuid::nil()),
            outcome: "error",
            error_code: Some("note_not_found"),
            status: Some(404),
            duration_ms: Some(1.25),
        };
        let line = format!("{{{}}}", all.members("acme"));
        let read: Value = serde_json::from_str(&line).unwrap();
        let names: Vec<_> = read
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            names.join(" "),
            "time event tenant user transport client tool item outcome error_code status duration_ms correlation_id"
        );
        assert_eq!(
            (&read["user"], &read["status"]),
            (&json!("a\"d\na"), &json!(404))
        );
        assert_eq!(read["item"], "00000000-0000-0000-0000-000000000000");
        assert!(!line.contains('\n'), "{line}");
        let least = Call {
            client: None,
            item: None,
            error_code: None,
            status: None,
            duration_ms: None,
            ..all
        };
        let read: Value = serde_json::from_str(&format!("{{{}}}", least.members("acme"))).unwrap();
        assert_eq!(read.as_object().unwrap().len(), 8, "{read}");
    }
}
