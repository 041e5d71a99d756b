//! Scopes and tool filters, applied to the real catalogue.

use super::*;
use crate::api::Features;
use crate::entities;
use crate::tools;

fn registry(toolsets: Option<&[&str]>, read_only: bool) -> ToolRegistry {
    ToolRegistry::new(
        &tools::all(tools::Limits::default()),
        &tool_filter(toolsets, read_only),
        Features::ALL,
    )
}

fn tool_filter(toolsets: Option<&[&str]>, read_only: bool) -> ToolFilter {
    ToolFilter {
        toolsets: toolsets.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        read_only,
    }
}

fn only(words: &[&str]) -> Scopes {
    Scopes::Only(words.iter().map(|word| Box::from(*word)).collect())
}

fn seen(registry: &ToolRegistry, requested_access: ToolAccess, scopes: &Scopes) -> Vec<String> {
    let tools = registry.tools(registry.accessible(requested_access, scopes));
    tools.iter().map(|tool| tool.name.to_string()).collect()
}

#[test]
fn each_scope_allows_its_tools_and_no_others() {
    let all = registry(None, false);
    let offered = seen(&all, ToolAccess::ALL, &Scopes::All);
    let every = offered.len();
    let reads = offered.iter().filter(|name| !all.writes(name)).count();
    let notes_written = [
        "create_note",
        "update_note",
        "patch_note",
        "delete_note",
        "archive_note",
        "process_note",
    ];
    for (scopes, count, included, excluded) in [
        (
            &["toolbridge:read"][..],
            reads,
            "list_chat_messages",
            "create_note",
        ),
        (
            &["toolbridge:write"],
            every - reads,
            "process_chat",
            "get_chat",
        ),
        (
            &["toolbridge:read", "toolbridge:write"],
            every,
            "get_chat",
            "",
        ),
        (&["toolbridge:notes:read"], 2, "get_note", "get_task"),
        (&["toolbridge:notes:read"], 2, "list_notes", "search"),
        (&["toolbridge:find:read"], 3, "search", "get_note"),
        (&["toolbridge:find:write"], 0, "", "search"),
        (&["toolbridge:notes:write"], 6, "delete_note", "get_note"),
        (
            &["toolbridge:chats:read"],
            2,
            "list_chats",
            "list_chat_messages",
        ),
        (
            &["toolbridge:read", "toolbridge:notes:write"],
            reads + 6,
            "patch_note",
            "patch_task",
        ),
        (
            &["openid", "toolbridge:tasks:read", "x"],
            2,
            "list_tasks",
            "list_notes",
        ),
        (&[], 0, "", "list_notes"),
        (
            &[
                "openid profile",
                "toolbridge",
                "toolbridge:",
                "toolbridge:notes",
            ],
            0,
            "",
            "list_notes",
        ),
        (
            &[
                "Toolbridge:read",
                "toolbridge:read ",
                "toolbridge:read:",
                "toolbridge:*",
            ],
            0,
            "",
            "list_notes",
        ),
        (
            &[
                "toolbridge:note:read",
                "notes:read",
                "toolbridge:notes:admin",
            ],
            0,
            "",
            "get_note",
        ),
    ] {
        let names = seen(&all, ToolAccess::ALL, &only(scopes));
        assert_eq!(names.len(), count, "{scopes:?}: {names:?}");
        assert!(
            included.is_empty() || names.iter().any(|name| name == included),
            "{scopes:?}"
        );
        assert!(!names.iter().any(|name| name == excluded), "{scopes:?}");
    }
    assert_eq!(
        seen(&all, ToolAccess::ALL, &only(&["toolbridge:notes:write"])),
        notes_written
    );
    assert_eq!(seen(&all, ToolAccess::ALL, &Scopes::All).len(), every);
}

#[test]
fn exactly_the_listed_tools_can_be_called() {
    let scopes = [
        Scopes::All,
        Scopes::none(),
        only(&["toolbridge:read"]),
        only(&["toolbridge:notes:write", "toolbridge:chats:read"]),
    ];
    for (toolsets, read_only) in [
        (None, false),
        (None, true),
        (Some(&["notes", "chats"][..]), false),
    ] {
        let registry = registry(toolsets, read_only);
        for requested_access in [
            tool_filter(None, false),
            tool_filter(Some(&["notes", "tasks"]), false),
            tool_filter(None, true),
        ] {
            let requested_access = registry.apply_filter(&requested_access).unwrap();
            for scopes in &scopes {
                let listed = seen(&registry, requested_access, scopes);
                for tool in &registry.tools {
                    let admitted = registry.admit(&tool.name, requested_access, scopes);
                    assert_eq!(
                        admitted.is_ok(),
                        listed.iter().any(|name| *name == tool.name),
                        "{}",
                        tool.name
                    );
                }
            }
        }
    }
}

#[test]
fn denied_access_names_its_reason() {
    let server = registry(Some(&["notes", "tasks"]), true);
    let request = server
        .apply_filter(&tool_filter(Some(&["notes"]), false))
        .unwrap();
    let scopes = only(&["toolbridge:tasks:read"]);
    for (name, expected) in [
        ("create_note", Err(AccessError::Server)),
        ("list_chats", Err(AccessError::Server)),
        ("list_tasks", Err(AccessError::Request)),
        (
            "get_note",
            Err(AccessError::Scope("toolbridge:notes:read".into())),
        ),
        ("get_nothing", Ok(())),
    ] {
        assert_eq!(server.admit(name, request, &scopes), expected, "{name}");
    }
    assert_eq!(
        server.admit("get_note", request, &only(&["toolbridge:read"])),
        Ok(())
    );
}

/// A request for more tools than the server offers gets the tools that the server offers.
#[test]
fn a_request_can_only_narrow() {
    let server = registry(Some(&["notes"]), true);
    let requested_access = server
        .apply_filter(&tool_filter(Some(&["notes", "tasks"]), false))
        .unwrap();
    assert_eq!(
        seen(&server, requested_access, &Scopes::All),
        ["list_notes", "get_note"]
    );
    let nothing = server
        .apply_filter(&tool_filter(Some(&["tasks"]), false))
        .unwrap();
    assert!(seen(&server, nothing, &Scopes::All).is_empty());
    let unknown = server
        .apply_filter(&tool_filter(Some(&["notes", "note"]), false))
        .unwrap_err();
    assert_eq!(
        (unknown.name.as_str(), unknown.known),
        ("note", tools::toolset_names())
    );
}

#[test]
fn advertised_scopes_follow_the_entities_and_the_served_tools() {
    let all = registry(None, false);
    assert_eq!(
        all.scopes_requested(),
        ["toolbridge:read", "toolbridge:write"]
    );
    let supported = all.scopes_supported();
    assert_eq!(supported.len(), 2 + 2 * entities::ALL.len() + 4);
    for scope in [
        "toolbridge:find:read",
        "toolbridge:edit:write",
        "toolbridge:compact:write",
    ] {
        assert!(supported.contains(&scope.to_owned()));
    }
    for entity in entities::ALL {
        for word in ["read", "write"] {
            let scope = format!("toolbridge:{}:{word}", entity.plural);
            assert!(supported.contains(&scope), "{scope}");
        }
    }
    let narrowed = registry(Some(&["notes", "chats"]), true);
    assert_eq!(
        narrowed.scopes_supported(),
        [
            "toolbridge:read",
            "toolbridge:notes:read",
            "toolbridge:chats:read"
        ]
    );
    assert!(narrowed.is_unlimited(&only(&["toolbridge:read"])));
    assert!(!all.is_unlimited(&only(&["toolbridge:read"])));
}

const COMPACT: [&str; 9] = [
    "search",
    "fetch",
    "overview",
    "edit_text",
    "restore",
    "batch",
    "create",
    "patch",
    "delete",
];

/// The list of `compact` is for clients that pay for each of its bytes.
#[test]
fn the_compact_list_is_short() {
    let compact = registry(Some(&["compact"]), false);
    assert_eq!(seen(&compact, ToolAccess::ALL, &Scopes::All), COMPACT);
    let list = compact.encoded(compact.accessible(ToolAccess::ALL, &Scopes::All));
    let served = list.len() + r#"{"tools":}"#.len();
    assert!(served <= 9_000, "{served} bytes");
}

#[test]
fn the_compact_tools_are_offered_where_their_toolset_is_named() {
    let unset = registry(None, false);
    let own = |names: &[String]| names.iter().any(|name| name == "create");
    assert!(!own(&seen(&unset, ToolAccess::ALL, &Scopes::All)));
    let read_only = unset.apply_filter(&tool_filter(None, true)).unwrap();
    assert_eq!(
        unset.admit("create", read_only, &Scopes::All),
        Err(AccessError::Request)
    );
    assert_eq!(
        unset.admit("create", ToolAccess::ALL, &Scopes::All),
        Err(AccessError::Request)
    );
    let named = unset.apply_filter(&tool_filter(Some(&["compact"]), false));
    let named = named.unwrap();
    assert_eq!(seen(&unset, named, &Scopes::All), COMPACT);
    assert_eq!(unset.admit("create", named, &Scopes::All), Ok(()));
    let reads = only(&["toolbridge:read"]);
    assert_eq!(seen(&unset, named, &reads), ["search", "fetch", "overview"]);
    let reading = unset.apply_filter(&tool_filter(Some(&["compact"]), true));
    assert_eq!(
        seen(&unset, reading.unwrap(), &Scopes::All),
        ["search", "fetch", "overview"]
    );

    // A request cannot name what the settings leave out.
    let notes = registry(Some(&["notes"]), false);
    let named = notes.apply_filter(&tool_filter(Some(&["compact"]), false));
    assert_eq!(
        seen(&notes, named.unwrap(), &Scopes::All),
        Vec::<String>::new()
    );
    // Nor does a filter of the settings count as a name: `notes` is not `compact`.
    assert_eq!(
        notes.admit("create", ToolAccess::ALL, &Scopes::All),
        Err(AccessError::Server)
    );
}
