use std::collections::BTreeSet;

use super::*;

fn new_metrics() -> Metrics {
    Metrics::new("1.2.3", "abc").unwrap()
}

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.text().unwrap()).unwrap()
}

fn tools(metrics: &Metrics) -> Tools {
    Tools::new(
        &metrics.invocations,
        &metrics.durations,
        ["get_note", "create_note"],
    )
    .unwrap()
}

/// Observes every event once, so that every family has a series.
fn observe_everything() -> Metrics {
    let metrics = new_metrics();
    tools(&metrics).called("get_note", "ok", Some(Duration::from_millis(3)));
    metrics
        .api_requests
        .get_metric_with_label_values(&["/readyz", "GET", "200"])
        .unwrap()
        .inc();
    metrics
        .api_durations
        .get_metric_with_label_values(&["/readyz", "GET"])
        .unwrap()
        .observe(0.1);
    metrics
}

#[test]
fn serves_exactly_the_declared_metrics() {
    let metrics = observe_everything();
    let served: BTreeSet<String> = text(&metrics)
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ").map(str::to_owned))
        .collect();
    let declared: BTreeSet<String> = names::ALL
        .iter()
        .map(|name| {
            format!(
                "{} {}",
                name.name,
                format!("{:?}", name.kind).to_lowercase()
            )
        })
        .collect();
    assert_eq!(served, declared);
    for (name, label, _) in names::LABEL_VALUES {
        let declared = names::ALL
            .iter()
            .find(|declared| declared.name == *name)
            .unwrap();
        assert!(declared.labels.contains(label), "{name} {label}");
    }
}

#[test]
fn an_unknown_tool_name_is_not_a_label_value() {
    let metrics = new_metrics();
    let tools = tools(&metrics);
    for name in [
        "get_note",
        "\"}\nevil 1",
        "",
        "create_note2",
        &"x".repeat(10_000),
    ] {
        tools.called(name, "ok", None);
    }
    let text = text(&metrics);
    assert!(
        text.contains(r#"mcp_tool_invocations_total{outcome="ok",tool="get_note"} 1"#),
        "{text}"
    );
    assert!(
        text.contains(r#"mcp_tool_invocations_total{outcome="ok",tool="unknown"} 4"#),
        "{text}"
    );
    assert!(!text.contains("evil") && !text.contains("xxx"));
}

#[test]
fn an_unlisted_value_counts_as_other() {
    let metrics = new_metrics();
    metrics.errors.count("a category of tomorrow");
    metrics.auth_failures.count("a reason of tomorrow");
    metrics.state_is("a state of tomorrow");
    let text = text(&metrics);
    for line in [
        r#"toolbridge_mcp_tool_errors_total{category="other"} 1"#,
        r#"toolbridge_mcp_auth_failures_total{reason="other"} 1"#,
        r#"toolbridge_mcp_readiness{state="other"} 1"#,
    ] {
        assert!(text.contains(line), "{line}");
    }
    assert!(!text.contains("tomorrow"));
}

#[test]
fn one_state_is_set_at_a_time() {
    let metrics = new_metrics();
    for state in ["api_unreachable", "ready", "draining"] {
        metrics.state_is(state);
        let text = text(&metrics);
        let on: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("toolbridge_mcp_readiness{") && line.ends_with(" 1"))
            .collect();
        assert_eq!(
            on,
            [format!("toolbridge_mcp_readiness{{state=\"{state}\"}} 1")]
        );
    }
}

#[test]
fn the_breaker_is_closed_until_it_opens() {
    let metrics = new_metrics();
    for (state, on) in [
        (None, "closed"),
        (Some("open"), "open"),
        (Some("half_open"), "half_open"),
    ] {
        if let Some(state) = state {
            metrics.breaker.set_only(state);
        }
        let text = text(&metrics);
        let lines: Vec<_> = text
            .lines()
            .filter(|line| {
                line.starts_with("toolbridge_mcp_breaker_state{") && line.ends_with(" 1")
            })
            .collect();
        assert_eq!(
            lines,
            [format!("toolbridge_mcp_breaker_state{{state=\"{on}\"}} 1")]
        );
    }
}

#[test]
fn exports_memory_files_and_start_time_of_the_process() {
    let text = text(&new_metrics());
    for name in [
        names::PROCESS_RSS,
        names::PROCESS_VIRTUAL,
        names::PROCESS_FDS,
        names::PROCESS_MAX_FDS,
        names::PROCESS_START,
    ] {
        let line = text.lines().find(|line| {
            line.starts_with(&format!("{}{{service=\"toolbridge-mcp\"}} ", name.name))
        });
        let value: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value > 0.0, "{line:?}");
    }
}

/// The page lists every metric and label value, and no other.
#[test]
fn documentation_lists_every_metric() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATIONS.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (start, end) = ("<!-- metrics: start -->\n", "<!-- metrics: end -->");
    let from = written.find(start).unwrap() + start.len();
    let to = written.find(end).unwrap();
    let mut generated = written.clone();
    generated.replace_range(from..to, &format!("\n{}\n", table()));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    } else {
        assert_eq!(
            written, generated,
            "run UPDATE_DOCS=1 cargo test --lib documentation"
        );
    }
}

fn table() -> String {
    let mut table = String::from("| metric | kind | labels | what |\n|---|---|---|---|\n");
    for name in names::ALL {
        let labels = name.labels.iter().map(|label| {
            let values = names::LABEL_VALUES
                .iter()
                .find(|(of, its, _)| *of == name.name && its == label);
            match values {
                Some((_, _, values)) => format!("`{label}`: {}", values.join(", ")),
                None => format!("`{label}`"),
            }
        });
        table += &format!(
            "| `{}` | {} | {} | {} |\n",
            name.name,
            format!("{:?}", name.kind).to_lowercase(),
            labels.collect::<Vec<_>>().join("; "),
            name.help
        );
    }
    table
}
