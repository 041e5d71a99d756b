//! The names of an API's answer as tools have them: `dueDate` is `due_date`, as the argument is.

use crate::foundation::json::Json;

use super::json_text::push_string;

/// Appends `json` without white space and with all its keys in snake case.
///
/// For answers whose keys the contract defines. It recurses, so the depth must have been checked.
pub(crate) fn snake_case_keys(json: Json<'_>, out: &mut String) {
    if json.is_object() {
        out.push('{');
        for (at, (key, value)) in json.members().enumerate() {
            if at > 0 {
                out.push(',');
            }
            push_string(&snake_case(&key), out);
            out.push(':');
            snake_case_keys(value, out);
        }
        out.push('}');
    } else if json.is_array() {
        out.push('[');
        for (at, item) in json.elements().enumerate() {
            if at > 0 {
                out.push(',');
            }
            snake_case_keys(item, out);
        }
        out.push(']');
    } else {
        out.push_str(json.get());
    }
}

/// `dueThisWeek` as `due_this_week`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_are_renamed() {
        let json = r#" {"dueThisWeek": {"count": 1.50, "first": [{"dueDate": "aB", "x": null}]}, "a_b": []} "#;
        let mut text = String::new();
        snake_case_keys(Json::parse(json.as_bytes()).unwrap(), &mut text);
        assert_eq!(
            text,
            r#"{"due_this_week":{"count":1.50,"first":[{"due_date":"aB","x":null}]},"a_b":[]}"#
        );
    }
}
