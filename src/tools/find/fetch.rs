//! `fetch`: one item in its context, as text.

use http::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::item_text::{Item, MAX_TEXT, shorten};
use super::{About, Tool, argument_error, malformed, read_request, reading_tool, refused};
use crate::api::Features;
use crate::api::request::{Api, Reply};
use crate::entities::{self, Entity, Kind, ParentEntity};
use crate::foundation::json::Json;
use crate::tools::api_outage;
use crate::tools::argument::required;
use crate::tools::coerce::Arguments;
use crate::tools::error::{Category, ToolError};
use crate::tools::result::{self, Limits, PageRequest};
use crate::tools::schema::object;

pub const NAME: &str = "fetch";

/// The prefix of an item's resource URI, which `search` returns as `url`.
const URL: &str = "toolbridge://";

/// The longest `id`: the URI of a chat message, with room for white space.
const MAX_ID: usize = 128;

/// The number of messages of a chat, and of comments of another item, that come with it.
const MESSAGES: u64 = 20;
const COMMENTS: u64 = 10;

pub fn tool() -> Tool {
    let id = Kind::Token { max: MAX_ID };
    let about = About {
        name: NAME,
        title: "Fetch",
        description: "Reads one item as text: a note or task with its last 10 comments, a chat \
                      with its last 20 messages. To find its id, use search.",
    };
    reading_tool(
        about,
        vec![required(
            "id",
            id,
            "A search result's id, like note/UID, or a UID.",
        )],
        output_schema(),
        Features::SEARCH.and_also(Features::ORDER),
    )
    .in_compact()
}

fn output_schema() -> Map<String, Value> {
    let text = json!({"type": "string"});
    object([
        ("type", json!("object")),
        (
            "properties",
            json!({"id": text, "title": text, "text": text, "url": text}),
        ),
        ("required", json!(["id", "title", "text", "url"])),
    ])
}

pub async fn run<A: Api>(given: &Arguments<'_>, api: &A) -> Result<String, ToolError> {
    let id = given.get("id").and_then(Json::as_str).unwrap_or_default();
    let (kinds, uid) = parse_id(&id)?;
    let (entity, reply) = find(kinds, uid, api).await?;
    let item = Item::read(entity, &reply.body).map_err(|why| malformed(NAME, &why))?;
    let children = children_of(entity, uid, api).await?;
    Ok(document(&item, children.as_ref()))
}

/// The kinds that an id can belong to, and its UID.
fn parse_id(id: &str) -> Result<(Vec<&'static Entity>, Uuid), ToolError> {
    let id = id.trim();
    let id = id.strip_prefix(URL).unwrap_or(id);
    let (kind, uid) = match id.split_once('/') {
        Some((kind, uid)) => (Some(kind), uid),
        None => (None, id),
    };
    let kinds = match kind {
        None => entities::ALL.to_vec(),
        Some(kind) => Entity::by_key(kind).into_iter().collect(),
    };
    match Uuid::try_parse(uid) {
        Ok(uid) if !kinds.is_empty() => Ok((kinds, uid)),
        _ => Err(argument_error(
            "id",
            "`id` must be a kind and a UID, like note/01890a5d-ac96-774b-bcce-b302099a8057, or a \
             UID."
                .to_owned(),
            "Call fetch again with the id of a search result.".to_owned(),
        )),
    }
}

/// Reads the item. Without a kind, one is tried after the other: UIDs are unique, and a tombstone
/// of one kind excludes the others.
async fn find<A: Api>(
    kinds: Vec<&'static Entity>,
    uid: Uuid,
    api: &A,
) -> Result<(&'static Entity, Reply), ToolError> {
    let only = kinds.len() == 1;
    for entity in kinds {
        let path = format!("/v1/{}/{uid}", entity.plural);
        let reply = send(Method::GET, path, Vec::new(), api).await?;
        match reply.status {
            200 => return Ok((entity, reply)),
            404 if only => return Err(not_found(entity.label, uid)),
            404 => {}
            410 => return Err(deleted(entity, uid)),
            _ => return Err(refused(&reply, NAME)),
        }
    }
    Err(not_found("item", uid))
}

fn not_found(label: &str, uid: Uuid) -> ToolError {
    ToolError::new(
        Category::NotFound,
        "item_not_found",
        format!("There is no {label} with the UID {uid}."),
        "Find the right id with search.",
    )
    .details(|details| details.uid = Some(uid.to_string()))
}

fn deleted(entity: &Entity, uid: Uuid) -> ToolError {
    let Entity { label, key, .. } = entity;
    ToolError::new(
        Category::NotFound,
        "item_deleted",
        format!("The {label} {uid} has been deleted."),
        format!("Read it with get_{key} and include_deleted, or find another with search."),
    )
    .details(|details| details.uid = Some(uid.to_string()))
}

/// The latest items that belong to one, oldest first.
struct Children {
    entity: &'static Entity,
    items: Vec<Item>,
    /// Where the rest begins.
    cursor: Option<String>,
    /// The argument by which a list is limited to this parent.
    argument: &'static str,
    parent: Uuid,
}

/// The latest children of an item, if there can be any.
async fn children_of<A: Api>(
    entity: &'static Entity,
    uid: Uuid,
    api: &A,
) -> Result<Option<Children>, ToolError> {
    let is_child = |child: &&&Entity| child.parent_keys().contains(&entity.key);
    let Some(child) = entities::ALL.iter().find(is_child) else {
        return Ok(None);
    };
    let parent = child.parent.as_ref();
    let field = parent.and_then(|parent| child.field(parent.uid));
    let (Some(parent), Some(field)) = (parent, field) else {
        return Ok(None);
    };
    let limit = match parent.entity {
        ParentEntity::Always(_) => MESSAGES,
        ParentEntity::NamedBy(_) => COMMENTS,
    };
    let query = vec![
        ("limit", limit.to_string()),
        ("order", "newest".to_owned()),
        (field.wire, uid.to_string()),
    ];
    let path = format!("/v1/{}", child.plural);
    let reply = send(Method::GET, path, query, api).await?;
    if reply.status != 200 {
        return Err(refused(&reply, NAME));
    }
    let request = PageRequest { limit, full: true };
    let unlimited = Limits {
        max_result_bytes: usize::MAX,
        max_page_bytes: usize::MAX,
    };
    let page = result::page(&reply.body, child, request, reply.has_next, &unlimited)
        .map_err(|error| malformed(NAME, &format!("{error:?}")))?;
    let page = Json::trusted(&page.text);
    let listed = page.member("items").unwrap_or(Json::NULL);
    let mut items = Vec::new();
    for item in listed.elements() {
        let item = Item::of_result(child, item.get());
        items.push(item.map_err(|why| malformed(NAME, &why))?);
    }
    items.reverse();
    let cursor = page.member("next_cursor").and_then(Json::as_str);
    Ok(Some(Children {
        entity: child,
        items,
        cursor: cursor.map(std::borrow::Cow::into_owned),
        argument: field.name,
        parent: uid,
    }))
}

async fn send<A: Api>(
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    api: &A,
) -> Result<Reply, ToolError> {
    let reply = api.send(read_request(method, path, query)).await;
    reply.map_err(|failure| api_outage::unanswered(failure, NAME))
}

/// The result: the item's text, its children, and how to read what was left out.
fn document(item: &Item, children: Option<&Children>) -> String {
    let key = item.entity.key;
    let mut text = item.to_text();
    if shorten(&mut text, MAX_TEXT) {
        text.push_str(&format!(
            "\n\n(cut; get_{key} with uid {} reads all)",
            item.uid
        ));
    }
    if let Some(children) = children.filter(|children| !children.items.is_empty()) {
        text.push_str(&children.to_text());
    }
    let id = format!("{key}/{}", item.uid);
    json!({
        "id": id,
        "title": item.title(),
        "text": text,
        "url": format!("{URL}{id}"),
        "metadata": item.metadata(),
    })
    .to_string()
}

impl Children {
    /// Markdown, with one paragraph per child.
    fn to_text(&self) -> String {
        let Entity {
            label_plural,
            plural,
            key,
            ..
        } = self.entity;
        let mut text = format!("\n\n## Latest {label_plural}\n");
        if let Some(cursor) = &self.cursor {
            let (argument, parent) = (self.argument, self.parent);
            text.push_str(&format!(
                "\n(earlier ones: list_{plural} with {argument} {parent} and cursor {cursor})\n"
            ));
        }
        let share = MAX_TEXT / self.items.len().max(1);
        for item in &self.items {
            let mut body = item.body();
            if shorten(&mut body, share) {
                body.push_str(&format!(
                    " (cut; get_{key} with uid {} reads all)",
                    item.uid
                ));
            }
            text.push_str(&format!("\n{}: {body}\n", item.heading()));
        }
        text
    }
}
