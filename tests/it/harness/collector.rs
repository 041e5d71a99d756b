//! A collector of traces, as both programs export them: OTLP over HTTP, in protobuf.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::process::HANG_TIMEOUT;

/// One span, in words.
#[derive(Debug, Clone)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    /// Ids of the spans that it is linked to.
    pub links: Vec<String>,
    pub attributes: Vec<(String, String)>,
    pub failed: bool,
}

impl Span {
    pub fn get(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Every span that was ever collected, as text, for the check at the very end.
static EVERYTHING: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub fn everything() -> Vec<String> {
    EVERYTHING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

#[derive(Clone)]
pub struct Collector {
    pub url: String,
    spans: Arc<watch::Sender<Vec<Span>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self {
            url,
            spans: Arc::default(),
        };
        let router = Router::new()
            .route("/v1/traces", post(collect))
            .with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        collector
    }

    /// The spans of a trace, once they are as `whole` wants them.
    pub async fn trace(&self, id: &str, whole: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let of_this = |all: &Vec<Span>| {
            all.iter()
                .filter(|span| span.trace == id)
                .cloned()
                .collect::<Vec<_>>()
        };
        let mut spans = self.spans.subscribe();
        let waiting = spans.wait_for(|all| whole(&of_this(all)));
        let in_time = tokio::time::timeout(HANG_TIMEOUT, waiting).await.is_ok();
        let found = of_this(&self.spans.borrow());
        assert!(in_time, "waited in vain for all of {id}: {found:#?}");
        found
    }
}

async fn collect(State(collector): State<Collector>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut new = Vec::new();
    for resource in request.resource_spans {
        let about = resource
            .resource
            .map(|about| words(&about.attributes))
            .unwrap_or_default();
        let service = about.iter().find(|(name, _)| name == "service.name");
        let service = service.map_or("", |(_, name)| name).to_owned();
        for span in resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            EVERYTHING
                .lock()
                .unwrap()
                .push(format!("{about:?} {span:?}"));
            new.push(Span {
                service: service.clone(),
                trace: hex::encode(&span.trace_id),
                id: hex::encode(&span.span_id),
                parent: hex::encode(&span.parent_span_id),
                links: span
                    .links
                    .iter()
                    .map(|link| hex::encode(&link.span_id))
                    .collect(),
                attributes: words(&span.attributes),
                failed: span.status.is_some_and(|status| status.code == 2),
                name: span.name,
            });
        }
    }
    collector.spans.send_modify(|spans| spans.extend(new));
}

fn words(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let word = |attribute: &KeyValue| {
        let value = attribute
            .value
            .as_ref()
            .and_then(|value| value.value.as_ref());
        let text = match value {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            Some(Value::BoolValue(truth)) => truth.to_string(),
            other => format!("{other:?}"),
        };
        (attribute.key.clone(), text)
    };
    attributes.iter().map(word).collect()
}
