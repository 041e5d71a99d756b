//! Property tests: they check what holds for all arguments and all responses of the API.

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::foundation::json::Copier;
use crate::tools::json_text::{Member, compact, object};

fn validator(schema: &Map<String, Value>) -> Validator {
    jsonschema::draft202012::new(&json!(schema)).unwrap()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        select(vec![
            "",
            "10",
            "null",
            "true",
            "[]",
            "{}",
            "[\"a\"]",
            "{\"a\":1}",
            "high",
            "2026-01-01",
            UID
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,5}|title|uid|dueDate", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An object with keys that are not fields of any entity.
fn object_with_unknown_keys(least: usize) -> impl Strategy<Value = Value> {
    prop::collection::vec(("x[a-zA-Z_]{0,8}", any_json()), least..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// A value that the argument's schema admits. UIDs and dates are valid, which the schema cannot
/// express.
fn admitted(name: &str, schema: &Value) -> BoxedStrategy<Value> {
    if let Some(choices) = schema.get("enum") {
        return select(choices.as_array().unwrap().clone()).boxed();
    }
    match schema["type"].as_str().unwrap() {
        "string" if name == "uid" || name.ends_with("_uid") => (any::<u128>(), any::<bool>())
            .prop_map(|(bits, uppercase)| {
                let uid = uuid::Uuid::from_u128(bits).to_string();
                json!(if uppercase { uid.to_uppercase() } else { uid })
            })
            .boxed(),
        "string" if name == "due_date" => (1900..2100, 1..=12, 1..=28, any::<bool>())
            .prop_map(|(year, month, day, timed)| {
                let time = if timed { "T09:30:00.5-07:00" } else { "" };
                json!(format!("{year}-{month:02}-{day:02}{time}"))
            })
            .boxed(),
        "string" => {
            let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0);
            text(&format!("(?s).{{{least},30}}"))
        }
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "integer" => {
            let least = schema["minimum"].as_u64().unwrap();
            let most = schema
                .get("maximum")
                .and_then(Value::as_u64)
                .unwrap_or(u64::MAX);
            (least..=most).prop_map(Value::from).boxed()
        }
        "array" => prop::collection::vec("(?s).{0,8}", 0..4)
            .prop_map(Value::from)
            .boxed(),
        "object" => {
            let least = schema
                .get("minProperties")
                .and_then(Value::as_u64)
                .unwrap_or(0);
            object_with_unknown_keys(usize::try_from(least).unwrap()).boxed()
        }
        other => panic!("no strategy for {other}"),
    }
}

fn any_tool() -> impl Strategy<Value = &'static ToolSpec> {
    select(catalogue().specs().collect::<Vec<_>>())
}

fn text(pattern: &str) -> BoxedStrategy<Value> {
    proptest::string::string_regex(pattern)
        .unwrap()
        .prop_map(Value::from)
        .boxed()
}

/// A tool, and arguments that its schema admits: all required ones and some of the others.
fn admitted_call() -> impl Strategy<Value = (&'static ToolSpec, Value)> {
    any_tool().prop_flat_map(|spec| {
        let required = minimal_arguments(spec);
        let properties = spec.input_schema["properties"].as_object().unwrap().clone();
        let members: Vec<_> = properties
            .iter()
            .map(|(name, schema)| {
                let name = name.clone();
                let is_required = required.get(&name).is_some();
                (admitted(&name, schema), any::<bool>()).prop_map(move |(value, given)| {
                    (given || is_required).then(|| (name.clone(), value))
                })
            })
            .collect();
        (Just(spec), members).prop_map(|(spec, members)| {
            let mut arguments: Map<_, _> = members.into_iter().flatten().collect();
            // A partial parent is refused, which a schema without alternatives cannot express.
            if spec.name == "update_comment"
                && arguments.contains_key("parent_type") != arguments.contains_key("parent_uid")
            {
                arguments.remove("parent_type");
                arguments.remove("parent_uid");
            }
            (spec, Value::Object(arguments))
        })
    })
}

/// Whether the argument is validated more strictly than the schema states.
fn is_stricter_than_the_schema(argument: &str) -> bool {
    argument == "uid"
        || argument.ends_with("_uid")
        || argument == "due_date"
        || argument == "parent_type"
}

proptest! {
    #[test]
    fn what_the_schema_admits_is_accepted((spec, arguments) in admitted_call()) {
        prop_assert!(validator(&spec.input_schema).is_valid(&arguments), "the test's own \
            arguments: {arguments}");
        let plan = prepare(&spec.name, arguments.clone());
        prop_assert!(plan.is_ok(), "{} {arguments}: {}", spec.name, plan.unwrap_err());
    }

    /// Replaces one argument by an arbitrary value. If the tool refuses it, the error names the
    /// argument. If only the schema refuses it, the value is one that is normalized. If only the
    /// tool refuses it, the schema cannot express the rule.
    #[test]
    fn an_invalid_argument_is_refused_by_name(
        (spec, arguments) in admitted_call(),
        at in any::<prop::sample::Index>(),
        value in any_json(),
        unknown in prop::option::weighted(0.2, "[a-z_]{1,12}"),
    ) {
        let properties = spec.input_schema["properties"].as_object().unwrap();
        let names: Vec<_> = properties.keys().cloned().collect();
        let name = unknown.unwrap_or_else(|| names[at.index(names.len())].clone());
        let mut changed = args(arguments);
        changed.insert(name.clone(), value.clone());
        let admitted = validator(&spec.input_schema).is_valid(&json!(changed));
        match prepare(&spec.name, Value::Object(changed)) {
            Err(error) => {
                let named = error.details.argument.clone().unwrap_or_default();
                let root = named.split(['.', '[']).next().unwrap().to_owned();
                let beside = spec.name == "update_comment" && named.starts_with("parent_");
                prop_assert!(root == name || beside, "{name} is spoilt, {named} is named: {error}");
                prop_assert!(error.message.contains(&format!("`{named}`")), "{error}");
                let inner = named != root; // `additional_fields.title`, `updates.uid`
                prop_assert!(!admitted || inner || is_stricter_than_the_schema(&named), "{error}");
            }
            Ok(_) if admitted => {}
            Ok(_) => prop_assert!(value.is_null() || value.is_string(), "{} takes {value}",
                spec.name),
        }
    }

    #[test]
    fn results_conform_to_the_output_schema(
        spec in any_tool(),
        payloads in prop::collection::vec(object_with_unknown_keys(0), 1..5),
        long in 0_usize..600,
        deleted in any::<bool>(),
        cursor in prop::option::of("[a-z]{0,4}"),
        has_next in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let items: Vec<_> = payloads.into_iter().map(|mut payload| {
            payload["content"] = json!("é".repeat(long));
            for (key, value) in [("parentType", "note"), ("parentUid", PARENT),
                ("chatUid", PARENT)] {
                payload[key] = json!(value);
            }
            let mut item = item(payload);
            if deleted {
                item["deletedAt"] = json!("2026-01-02T03:04:05Z");
            }
            item
        }).collect();
        let mut page = json!({"items": items});
        if let Some(cursor) = cursor {
            page["nextCursor"] = json!(cursor);
        }
        let is_list = spec.name.starts_with("list_");
        let answer = if is_list { &page } else { &items[0] };
        // With white space, as some compatible APIs send it.
        let text = serde_json::to_string_pretty(answer).unwrap();
        let answers = [reply(200, text).map(|reply| Reply { has_next, ..reply }),
            reply(200, answer)];
        let success = runtime.block_on(call(&spec.name, minimal_arguments(spec),
            &Script::new(answers))).unwrap();

        prop_assert!(validator(&spec.output_schema).is_valid(&success.value()), "{}: {}", spec.name,
            success.text);
        prop_assert_eq!(&success.text, &success.value().to_string(), "compact, in order");
        if is_list {
            for item in success.value()["items"].as_array().unwrap() {
                let length = item["payload"]["content"].as_str().unwrap().chars().count();
                prop_assert_eq!(length, long.min(281));
                prop_assert_eq!(item.get("truncated").is_some(), long > 280);
            }
        } else {
            prop_assert_eq!(success.value(), as_result(entity_of(&spec.name), answer));
        }
    }

    /// Any response of the API leads to a result or to a complete error.
    #[test]
    fn every_response_yields_a_result_or_an_error(spec in any_tool(), status in 100_u16..600,
        maybe_applied: bool, body in prop::collection::vec(any::<u8>(), 0..40),
        json in any_json()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for bytes in [Bytes::from(body), Bytes::from(json.to_string())] {
            let answer = || Ok(Reply { status, body: bytes.clone(), retry_after: None,
                has_next: true, maybe_applied });
            let script = Script::new([answer(), answer(), answer()]);
            if let Err(error) = runtime.block_on(call(&spec.name, minimal_arguments(spec),
                &script)) {
                prop_assert!(!error.code.is_empty() && !error.message.is_empty());
            }
        }
    }

    #[test]
    fn compacting_removes_only_white_space(value in any_json()) {
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let mut text = String::new();
        compact(&pretty, &mut text).unwrap();
        prop_assert_eq!(text, value.to_string());
    }

    #[test]
    fn cutting_shortens_only_strings(value in any_json(), longest in 0_usize..6) {
        fn cut(value: &Value, longest: usize) -> Value {
            match value {
                Value::String(text) if text.chars().count() > longest => {
                    json!(text.chars().take(longest).collect::<String>() + "…")
                }
                Value::Array(items) => items.iter().map(|item| cut(item, longest)).collect(),
                Value::Object(members) => {
                    Value::Object(members.iter().map(|(key, value)| (key.clone(),
                        cut(value, longest))).collect())
                }
                other => other.clone(),
            }
        }
        let payload = json!({"a": value, "b": 1});
        let text = payload.to_string();
        let mut copier = Copier::new(text.as_bytes(), usize::MAX).unwrap();
        let named = object(&mut copier, Some(longest), |_| Member::Kept).unwrap();
        let (short, _) = copier.finish().unwrap();
        let expected = cut(&payload, longest);
        prop_assert_eq!(short, expected.to_string());
        prop_assert_eq!(named, if expected == payload { vec![] } else { vec!["a"] });
    }
}
