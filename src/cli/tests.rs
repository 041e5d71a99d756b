use super::*;

fn parsed(words: &str) -> Result<Cli, clap::Error> {
    parse(words.split_whitespace().map(OsString::from))
}

#[test]
fn the_clap_definition_is_valid() {
    command().debug_assert();
}

#[test]
fn settings_may_precede_or_follow_the_command() {
    for words in [
        "toolbridge-mcp --dev --set log.level=debug serve",
        "toolbridge-mcp serve --dev --set log.level=debug",
        "toolbridge-mcp config --dev show --set log.level=debug",
    ] {
        let flags = parsed(words).unwrap().settings.flags();
        assert_eq!(flags.len(), 2, "{words}");
        assert_eq!(
            (flags[1].path.as_str(), flags[1].value.as_str()),
            ("env", "dev")
        );
    }
}

#[test]
fn arguments_of_a_call_are_pairs() {
    assert!(
        parsed("toolbridge-mcp call create_note title=a content=-x tags=[] --json --as ada")
            .is_ok()
    );
    assert!(parsed("toolbridge-mcp call").is_err());
    assert!(
        parsed("toolbridge-mcp call get_note --as ada --token-file t").is_err(),
        "one caller at a time"
    );
}

#[test]
fn the_parser_rejects_invalid_arguments() {
    for words in [
        "toolbridge-mcp",
        "toolbridge-mcp sreve",
        "toolbridge-mcp serve --prot 1",
        "toolbridge-mcp token --ttl 5",
        "toolbridge-mcp token --sub=",
        "toolbridge-mcp help nothing",
        "toolbridge-mcp --set x version",
    ] {
        assert_eq!(parsed(words).unwrap_err().exit_code(), 2, "{words}");
    }
}

#[test]
fn flags_restrict_the_tools() {
    let flags = |words: &str| {
        let flags = match parsed(words).unwrap().command {
            Command::Serve(serve) => serve.flags(),
            Command::Stdio(stdio) => stdio.flags(),
            _ => Vec::new(),
        };
        let set = flags
            .iter()
            .map(|flag| format!("{} {}={}", flag.name, flag.path, flag.value));
        set.collect::<Vec<_>>()
    };
    let both = [
        "--toolsets tools.toolsets=notes,tasks",
        "--read-only tools.read_only=true",
    ];
    for command in ["serve", "stdio"] {
        let words = format!("toolbridge-mcp {command}");
        assert_eq!(
            flags(&format!("{words} --toolsets notes,tasks --read-only")),
            both
        );
        assert!(flags(&words).is_empty());
        assert!(
            parsed(&format!("{words} --toolsets=")).is_err(),
            "less was meant than everything"
        );
    }
}

#[test]
fn the_exit_codes_are_documented() {
    let page = include_str!("../../docs/CONFIGURATION.md");
    for exit in Exit::ALL {
        let row = format!("| {} | {} |", exit.code(), exit.meaning());
        assert!(page.contains(&row), "docs/CONFIGURATION.md lacks: {row}");
    }
}

#[test]
fn help_is_a_command_too() {
    for words in [
        "toolbridge-mcp help",
        "toolbridge-mcp help call",
        "toolbridge-mcp config help show",
    ] {
        assert_eq!(parsed(words).unwrap_err().exit_code(), 0, "{words}");
    }
}
