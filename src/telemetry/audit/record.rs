//! Renders the members of an audit line: user, tool, item and outcome of a call. Only names and
//! numbers; [`Call`] has no field for the content of a call.

use std::time::SystemTime;

use uuid::Uuid;

use super::chain::Event;
use crate::telemetry::fields;
use crate::telemetry::json::{push, push_member, push_name, push_number, push_time};

/// A finished call, with the values of its log line.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub correlation_id: &'a str,
    pub user: &'a str,
    /// The client's name, sanitised.
    pub client: Option<&'a str>,
    pub transport: &'a str,
    pub tool: &'a str,
    pub item: Option<Uuid>,
    /// The number of operations of a call that makes several.
    pub operations: Option<usize>,
    pub outcome: &'a str,
    pub error_code: Option<&'a str>,
    /// The API's status for a call that failed there.
    pub status: Option<u16>,
    /// `None` for a call that was rejected before it began.
    pub duration_ms: Option<f64>,
}

impl Call<'_> {
    /// Renders the members of the line, in a fixed order.
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
        if let Some(operations) = self.operations {
            number(&mut line, fields::OPERATIONS, operations);
        }
        push_member(&mut line, fields::OUTCOME, self.outcome);
        if let Some(code) = self.error_code {
            push_member(&mut line, fields::ERROR_CODE, code);
        }
        if let Some(status) = self.status {
            number(&mut line, fields::STATUS, status);
        }
        if let Some(duration) = self.duration_ms {
            push_name(&mut line, fields::DURATION_MS);
            push_number(&mut line, duration);
        }
        push_member(&mut line, fields::CORRELATION_ID, self.correlation_id);
        line
    }
}

/// Renders the members that every line begins with.
pub fn event(event: Event) -> String {
    let mut line = String::with_capacity(384);
    push_time(&mut line, SystemTime::now());
    push_member(&mut line, fields::EVENT, event.as_str());
    line
}

/// Like [`event`], with a count.
pub fn counted(kind: Event, name: &str, count: u64) -> String {
    let mut line = event(kind);
    number(&mut line, name, count);
    line
}

fn number(line: &mut String, name: &str, value: impl std::fmt::Display) {
    push_name(line, name);
    push(line, value);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn members_have_a_fixed_order_and_unknown_ones_are_omitted() {
        let all = Call {
            correlation_id: "c-1",
            user: "a\"d\na",
            client: Some("suite"),
            transport: "http",
            tool: "get_note",
            item: Some(Uuid::nil()),
            operations: Some(18),
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
            "time event tenant user transport client tool item operations outcome error_code \
             status duration_ms correlation_id"
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
            operations: None,
            error_code: None,
            status: None,
            duration_ms: None,
            ..all
        };
        let read: Value = serde_json::from_str(&format!("{{{}}}", least.members("acme"))).unwrap();
        assert_eq!(read.as_object().unwrap().len(), 8, "{read}");
    }
}
