//! The tools over ToolBridge's entities: the product of [`crate::entities`] and the
//! [operations](operation), built once.
//!
//! A call takes two steps, so that nothing is sent if the arguments are invalid:
//! [`Catalogue::prepare`] validates the arguments and returns a [`Plan`], and running the plan
//! sends its requests and interprets the responses.

mod api_error;
mod catalogue;
mod draft;
mod execute;
mod operation;
mod parent;
mod payload;
mod plan;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use uuid::Uuid;

pub use catalogue::Catalogue;
pub use payload::{Payload, SERVER_KEYS};
#[cfg(any(test, feature = "pieces"))]
pub use plan::Plan;

use super::result::Limits;
use super::toolset::{ListedTool, Outcome, ToolCall, Toolset};
use crate::api::Features;

/// The toolset of all entities.
#[derive(Debug)]
pub struct EntityTools {
    /// For an API whose lists have an order.
    ordered: Catalogue,
    /// For an API that has none of the features.
    plain: Catalogue,
    limits: Limits,
}

impl EntityTools {
    /// `new_uid` generates the UIDs of new items.
    pub fn new(new_uid: fn() -> Uuid, limits: Limits) -> Self {
        Self {
            ordered: Catalogue::new(new_uid, Features::ORDER),
            plain: Catalogue::new(new_uid, Features::NONE),
            limits,
        }
    }

    fn catalogue(&self, features: Features) -> &Catalogue {
        if features.has(Features::ORDER) {
            &self.ordered
        } else {
            &self.plain
        }
    }
}

impl Toolset for EntityTools {
    fn list(&self, features: Features) -> Vec<ListedTool> {
        self.catalogue(features)
            .specs()
            .map(ListedTool::from)
            .collect()
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Outcome> {
        let plan = match self
            .catalogue(call.features)
            .prepare(call.name, call.arguments)
        {
            Ok(plan) => plan,
            Err(error) => return ready(Outcome::failure(&error, call.correlation_id)).boxed(),
        };
        if let Some(uid) = plan.item() {
            let _ = call.item.set(uid);
        }
        let work = async move {
            match plan.run(call.api, &self.limits, call.progress).await {
                Ok(success) => Outcome::success(success.text),
                Err(error) => Outcome::failure(&error, call.correlation_id),
            }
        };
        work.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serves_the_specs_of_the_catalogue() {
        let served = EntityTools::new(Uuid::now_v7, Limits::default()).list(Features::ORDER);
        let catalogue = Catalogue::new(Uuid::now_v7, Features::ORDER);
        assert_eq!(served.len(), catalogue.specs().len());
        for (served, spec) in served.iter().zip(catalogue.specs()) {
            let tool = &served.tool;
            assert_eq!(tool.name, spec.name);
            assert_eq!(tool.title.as_ref(), Some(&spec.title));
            assert_eq!(tool.description.as_deref(), Some(&*spec.description));
            assert_eq!(*tool.input_schema, spec.input_schema);
            assert_eq!(tool.output_schema.as_deref(), Some(&spec.output_schema));
            assert_eq!((served.toolset, served.access), (spec.toolset, spec.access));
        }
    }
}
