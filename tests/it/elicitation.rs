//! Questions to the person behind a legacy client, which are requests to it, and their answers.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::confirmation::{are_there, deletion, is_there, note, notes, with_confirm};
use crate::harness::{
    CallResult, Era, Server, SessionClient, SseClient, StdioClient, ToolClient, User, shared,
};

crate::tests![
    what_is_confirmed_is_made,
    what_is_not_confirmed_is_not_made,
    a_late_answer_and_a_second_one_change_nothing,
    a_call_that_is_cancelled_withdraws_its_question,
    a_client_that_leaves_leaves_nothing,
    open_questions_are_limited,
    an_answer_on_another_stream_is_none,
    a_response_that_was_not_asked_for_is_refused,
    a_server_that_leaves_does_not_wait_for_an_answer,
    a_bridge_carries_questions_both_ways,
    the_time_of_the_person_is_not_the_time_of_the_call,
];

const QUESTION: &str = "elicitation/create";
const CANCELLED: &str = "notifications/cancelled";
const VERSION: &str = "2025-06-18";
const CAPABILITIES: &str = r#"{"elicitation": {}}"#;

/// A client that the server can send requests to.
trait Conversation: ToolClient + Sized {
    async fn tell(&self, message: &Value);
    async fn begin(&self, method: &str, params: Value) -> u64;
    async fn requested(&self, method: &str, seen: usize) -> Value;
    async fn answer(&self, id: u64) -> Value;

    async fn begin_call(&self, tool: &str, arguments: &Value) -> u64 {
        let params = json!({"name": tool, "arguments": arguments});
        self.begin("tools/call", params).await
    }

    async fn called(&self, id: u64, tool: &str, arguments: &Value) -> CallResult {
        CallResult::read(self, tool, arguments, self.answer(id).await)
    }

    /// The id and the words of a question.
    async fn question(&self, seen: usize) -> (Value, String) {
        let asked = self.requested(QUESTION, seen).await;
        let form = &asked["params"];
        assert_eq!(form["requestedSchema"]["properties"], json!({}), "{asked}");
        (
            asked["id"].clone(),
            form["message"].as_str().unwrap().to_owned(),
        )
    }

    async fn reply(&self, id: &Value, action: &str) {
        let result = json!({"action": action, "content": {}});
        self.tell(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
            .await;
    }

    async fn cancel(&self, id: u64) {
        let params = json!({"requestId": id});
        self.tell(&json!({"jsonrpc": "2.0", "method": CANCELLED, "params": params}))
            .await;
    }
}

macro_rules! conversation {
    ($client:ident, |$this:ident, $message:ident| $send:expr) => {
        impl Conversation for $client<'_> {
            async fn tell(&self, $message: &Value) {
                let $this = self;
                $send
            }
            async fn begin(&self, method: &str, params: Value) -> u64 {
                self.begin(method, params).await
            }
            async fn requested(&self, method: &str, seen: usize) -> Value {
                self.requested(method, seen).await
            }
            async fn answer(&self, id: u64) -> Value {
                self.answer(id).await
            }
        }
    };
}

conversation!(StdioClient, |client, message| client.send(message).await);
conversation!(SseClient, |client, message| client.send(message).await);
conversation!(SessionClient, |client, message| {
    assert!(client.send(message).await < 300);
});

fn capabilities() -> Value {
    serde_json::from_str(CAPABILITIES).unwrap()
}

async fn initialize(client: &impl Conversation) {
    let mut params = Era::Legacy(VERSION).initialize_params();
    params["capabilities"] = capabilities();
    let id = client.begin("initialize", params).await;
    assert_eq!(
        client.answer(id).await["result"]["protocolVersion"],
        VERSION
    );
    client
        .tell(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
}

async fn by_stdio(server: &Server) -> StdioClient<'_> {
    let client = StdioClient::of(server, Era::Legacy(VERSION), server.new_user());
    initialize(&client).await;
    client
}

async fn by_stream(server: &Server, user: User) -> SseClient<'_> {
    let client = SseClient::open(server, "/sse", user).await;
    initialize(&client).await;
    client
}

async fn by_session(server: &Server, user: User) -> SessionClient<'_> {
    SessionClient::start(server, Era::Legacy(VERSION), user, capabilities()).await
}

/// A server that asks about every delete, and has sessions.
async fn asking() -> Server {
    let settings = [
        ("TOOLBRIDGE_SERVER_CONFIRM", "destructive"),
        ("TOOLBRIDGE_SERVER_SESSIONS", "stateful"),
    ];
    Server::with("acme", &shared().api, &settings).await
}

/// Does the same over every transport on which there can be a question.
macro_rules! over_every_transport {
    ($server:ident, |$client:ident| $test:expr) => {
        let $server = asking().await;
        {
            let $client = by_stdio(&$server).await;
            $test;
            $client.traffic().await;
            $client.close().await;
        }
        {
            let $client = by_stream(&$server, $server.new_user()).await;
            $test;
            $client.traffic().await;
        }
        {
            let $client = by_session(&$server, $server.new_user()).await;
            $test;
            $client.traffic().await;
        }
        $server.stop().await;
    };
}

async fn what_is_confirmed_is_made() {
    over_every_transport!(server, |client| {
        let uids = notes(&client, 6).await;
        let batch = deletion(&uids);
        let id = client.begin_call("batch", &batch).await;
        let (question, text) = client.question(0).await;
        assert_eq!(
            text,
            "Delete 6 notes? “Note 0”, “Note 1”, “Note 2” and 3 more. This can be undone later."
        );
        // While the person thinks, nothing is held: every session of the API has ended.
        client.traffic().await;
        are_there(&client, &uids, true).await;
        client.reply(&question, "accept").await;
        let done = client.called(id, "batch", &batch).await.ok();
        assert_eq!(done["done"], 6);
        are_there(&client, &uids, false).await;
    });
}

async fn what_is_not_confirmed_is_not_made() {
    over_every_transport!(server, |client| {
        let uid = note(&client, "A").await;
        let delete = json!({"uid": uid});
        for (seen, action) in ["decline", "cancel"].into_iter().enumerate() {
            let id = client.begin_call("delete_note", &delete).await;
            let (question, _) = client.question(seen).await;
            client.reply(&question, action).await;
            let called = client.called(id, "delete_note", &delete).await;
            called.failed("permission", "not_confirmed");
        }
        // A client that fails to ask.
        let id = client.begin_call("delete_note", &delete).await;
        let (question, _) = client.question(2).await;
        let error = json!({"code": -32601, "message": "no such method"});
        client
            .tell(&json!({"jsonrpc": "2.0", "id": question, "error": error}))
            .await;
        let called = client.called(id, "delete_note", &delete).await;
        called.failed("permission", "not_confirmed");
        assert!(is_there(&client, &uid).await);
    });
}

async fn a_late_answer_and_a_second_one_change_nothing() {
    let server = asking().await;
    let client = by_session(&server, server.new_user()).await;
    let (one, other) = (note(&client, "A").await, note(&client, "B").await);
    let delete = json!({"uid": one});
    let id = client.begin_call("delete_note", &delete).await;
    let (question, _) = client.question(0).await;
    client.reply(&question, "accept").await;
    client.called(id, "delete_note", &delete).await.ok();
    let item = json!({"kind": "note", "uid": one});
    client.call("restore", item).await.ok();
    // Twice.
    client.reply(&question, "accept").await;
    let delete = json!({"uid": other});
    let id = client.begin_call("delete_note", &delete).await;
    let (question, _) = client.question(1).await;
    client.cancel(id).await;
    client.requested(CANCELLED, 0).await;
    // Late.
    client.reply(&question, "accept").await;
    // For another question.
    let delete = json!({"uid": one});
    let id = client.begin_call("delete_note", &delete).await;
    let (last, _) = client.question(2).await;
    client.reply(&question, "accept").await;
    client.reply(&json!(4711), "accept").await;
    are_there(&client, &[one.clone(), other.clone()], true).await;
    client.reply(&last, "decline").await;
    let called = client.called(id, "delete_note", &delete).await;
    called.failed("permission", "not_confirmed");
    are_there(&client, &[one, other], true).await;
    client.traffic().await;
    server.stop().await;
}

async fn a_call_that_is_cancelled_withdraws_its_question() {
    over_every_transport!(server, |client| {
        let uid = note(&client, "A").await;
        let delete = json!({"uid": uid});
        // More often than there may be open questions: none is left.
        for seen in 0..6 {
            let id = client.begin_call("delete_note", &delete).await;
            let (question, _) = client.question(seen).await;
            client.cancel(id).await;
            let withdrawn = client.requested(CANCELLED, seen).await;
            assert_eq!(withdrawn["params"]["requestId"], question, "{withdrawn}");
        }
        assert!(is_there(&client, &uid).await);
    });
}

async fn a_client_that_leaves_leaves_nothing() {
    let server = asking().await;
    let user = server.new_user();
    let first = by_session(&server, user.clone()).await;
    let uid = note(&first, "A").await;
    let delete = json!({"uid": uid});
    // More often than there may be open questions: none is left.
    for _ in 0..3 {
        let session = by_session(&server, user.clone()).await;
        session.begin_call("delete_note", &delete).await;
        session.question(0).await;
        session.end().await;
        let stream = by_stream(&server, user.clone()).await;
        Conversation::begin_call(&stream, "delete_note", &delete).await;
        stream.question(0).await;
        stream.close();
    }
    // The server notices the end of a connection by itself, in its own time.
    let waiting = Instant::now();
    let mut seen = 0;
    loop {
        let id = first.begin_call("delete_note", &delete).await;
        let question = first.requested(QUESTION, seen);
        let answer = first.answer(id);
        let refused = tokio::select! {
            question = question => {
                seen += 1;
                first.reply(&question["id"], "decline").await;
                false
            }
            answer = answer => answer.to_string().contains("too_many_questions"),
        };
        if !refused {
            break;
        }
        assert!(
            waiting.elapsed().as_secs() < 120,
            "a question is still open"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(is_there(&first, &uid).await);
    first.traffic().await;
    server.stop().await;
}

async fn open_questions_are_limited() {
    let server = asking().await;
    let client = by_session(&server, server.new_user()).await;
    let other = by_session(&server, server.new_user()).await;
    let uid = note(&client, "A").await;
    let delete = json!({"uid": uid});
    let mut open = Vec::new();
    for seen in 0..4 {
        let id = client.begin_call("delete_note", &delete).await;
        open.push((id, client.question(seen).await.0));
    }
    let called = client.call("delete_note", delete.clone()).await;
    let error = called.failed("rate_limited", "too_many_questions");
    assert_eq!(error["retryable"], true);
    // Everything else goes on, for this caller and for others.
    assert!(is_there(&client, &uid).await);
    let theirs = note(&other, "B").await;
    other
        .begin_call("delete_note", &json!({"uid": theirs}))
        .await;
    other.question(0).await;
    for (id, question) in open {
        client.reply(&question, "decline").await;
        let called = client.called(id, "delete_note", &delete).await;
        called.failed("permission", "not_confirmed");
    }
    let id = client.begin_call("delete_note", &delete).await;
    let (question, _) = client.question(4).await;
    client.reply(&question, "accept").await;
    client.called(id, "delete_note", &delete).await.ok();
    client.traffic().await;
    server.stop().await;
}

async fn an_answer_on_another_stream_is_none() {
    let server = asking().await;
    let ann = by_stream(&server, server.new_user()).await;
    let bob = by_stream(&server, server.new_user()).await;
    let mut asked = Vec::new();
    for client in [&ann, &bob] {
        let uid = note(client, "A").await;
        let delete = json!({"uid": uid});
        let id = client.begin_call("delete_note", &delete).await;
        asked.push((client, uid, delete, id, client.question(0).await.0));
    }
    // The ids of both questions are alike; each is answered on its own stream.
    assert_eq!(asked[0].4, asked[1].4);
    let (client, uid, delete, id, question) = &asked[0];
    client.reply(question, "accept").await;
    client.called(*id, "delete_note", delete).await.ok();
    assert!(!is_there(*client, uid).await);
    let (client, uid, delete, id, question) = &asked[1];
    assert!(is_there(*client, uid).await);
    client.reply(question, "decline").await;
    let called = client.called(*id, "delete_note", delete).await;
    called.failed("permission", "not_confirmed");
    assert!(is_there(*client, uid).await);
    ann.traffic().await;
    bob.traffic().await;
    server.stop().await;
}

async fn a_response_that_was_not_asked_for_is_refused() {
    let server = asking().await;
    let user = server.new_user();
    let client = by_stream(&server, user.clone()).await;
    let uid = note(&client, "A").await;
    let response = |id: &Value| {
        let message = json!({"jsonrpc": "2.0", "id": id, "result": {"action": "decline"}});
        client.post(&user.token, &message)
    };
    let status = async |id: &Value| response(id).send().await.unwrap().status().as_u16();
    assert_eq!(status(&json!(0)).await, 400);
    let delete = json!({"uid": uid});
    let id = client.begin_call("delete_note", &delete).await;
    let (question, _) = client.question(0).await;
    assert_eq!(status(&json!(99)).await, 202, "ignored");
    assert_eq!(status(&question).await, 202);
    let called = client.called(id, "delete_note", &delete).await;
    called.failed("permission", "not_confirmed");
    // A second response does not end the conversation of a correct client.
    assert_eq!(status(&question).await, 202);
    client.traffic().await;
    server.stop().await;
}

async fn a_server_that_leaves_does_not_wait_for_an_answer() {
    let server = asking().await;
    let (ann, bob) = (server.new_user(), server.new_user());
    let session = by_session(&server, ann).await;
    let stream = by_stream(&server, bob).await;
    let delete = json!({"uid": note(&session, "A").await});
    let one = session.begin_call("delete_note", &delete).await;
    session.question(0).await;
    let deletes = json!({"uid": note(&stream, "B").await});
    let other = stream.begin_call("delete_note", &deletes).await;
    stream.question(0).await;
    server.process.signal("TERM");
    for called in [
        session.called(one, "delete_note", &delete).await,
        stream.called(other, "delete_note", &deletes).await,
    ] {
        called.failed("permission", "not_confirmed");
    }
    assert_eq!(server.process.exit().await, Some(0));
}

async fn a_bridge_carries_questions_both_ways() {
    let server = asking().await;
    // With a session.
    let era = Era::Legacy(VERSION);
    let bridge = StdioClient::connected_as(&server, era, server.new_user(), &[]);
    initialize(&bridge).await;
    let uid = note(&bridge, "A").await;
    let delete = json!({"uid": uid});
    for (seen, action) in ["decline", "accept"].into_iter().enumerate() {
        let id = bridge.begin_call("delete_note", &delete).await;
        let (question, text) = bridge.question(seen).await;
        assert!(text.contains("“A”"), "{text}");
        bridge.reply(&question, action).await;
        let called = bridge.called(id, "delete_note", &delete).await;
        assert_eq!(called.is_error(), action == "decline", "{called}");
    }
    let uid = note(&bridge, "B").await;
    let id = bridge.begin_call("delete_note", &json!({"uid": uid})).await;
    let (question, _) = bridge.question(2).await;
    bridge.cancel(id).await;
    let withdrawn = bridge.requested(CANCELLED, 0).await;
    assert_eq!(withdrawn["params"]["requestId"], question, "{withdrawn}");
    assert!(is_there(&bridge, &uid).await);
    bridge.traffic().await;
    bridge.close().await;
    // As a result.
    let bridge = StdioClient::connected(&server, Era::Modern).await;
    let uid = note(&bridge, "C").await;
    let call = async |id: u64, extra: Value| {
        let mut params = json!({"name": "delete_note", "arguments": {"uid": uid}});
        for (name, value) in extra.as_object().unwrap() {
            params[name] = value.clone();
        }
        let mut message = Era::Modern.message(id, "tools/call", params);
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities();
        bridge.send(&message).await;
        bridge.answer(id).await["result"].clone()
    };
    let (_, state) = crate::confirmation::question_of(&call(1001, json!({})).await);
    let answers = json!({"confirm": {"action": "accept"}});
    let answer = json!({"requestState": state, "inputResponses": answers});
    assert_eq!(call(1002, answer).await["isError"], false);
    bridge.traffic().await;
    bridge.close().await;
    server.stop().await;
}

async fn the_time_of_the_person_is_not_the_time_of_the_call() {
    let server = with_confirm("destructive").await;
    let client = by_stream(&server, server.new_user()).await;
    let uid = note(&client, "A").await;
    let delete = json!({"uid": uid});
    let began = Instant::now();
    let id = client.begin_call("delete_note", &delete).await;
    let (question, _) = client.question(0).await;
    let asked = Instant::now();
    // Longer than the rest of the call.
    let pause = 4 * (asked - began) + std::time::Duration::from_secs(1);
    tokio::time::sleep(pause).await;
    client.reply(&question, "accept").await;
    client.called(id, "delete_note", &delete).await.ok();
    let all = began.elapsed();
    let logged = server
        .process
        .logged_value("delete_note ok", "duration_ms")
        .await;
    let took = logged.as_f64().unwrap() / 1000.0;
    assert!(
        took < (all - pause).as_secs_f64() + 0.5,
        "{took} of {all:?}"
    );
    client.traffic().await;
    server.stop().await;
}
