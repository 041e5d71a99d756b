//! The names that the API has in camel case, and tools in snake case: `dueDate`, `due_date`.

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

/// `updated_after` as `updatedAfter`.
pub(crate) fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut camel, word| {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
        camel
    })
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
    fn names_are_the_same_in_both_directions() {
        for (snake, camel) in [("query", "query"), ("due_this_week", "dueThisWeek")] {
            assert_eq!(camel_case(snake), camel);
            assert_eq!(snake_case(camel), snake);
        }
    }

    #[test]
    fn only_keys_are_renamed() {
        let json = concat!(
            r#" {"dueThisWeek": {"count": 1.50, "first": [{"dueDate": "aB", "x": null}]}, "#,
            r#""a_b": []} "#
        );
        let mut text = String::new();
        snake_case_keys(Json::parse(json.as_bytes()).unwrap(), &mut text);
        assert_eq!(
            text,
            r#"{"due_this_week":{"count":1.50,"first":[{"due_date":"aB","x":null}]},"a_b":[]}"#
        );
    }
}
