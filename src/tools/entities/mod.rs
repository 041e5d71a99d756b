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

use std::collections::HashMap;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use uuid::Uuid;

pub use catalogue::Catalogue;
pub use payload::{Payload, SERVER_KEYS};
pub(super) use plan::MAX_BODY_BYTES;
#[cfg(any(test, feature = "internals"))]
pub use plan::Plan;

use super::destruction::{Act, Destruction, Effect};
use super::error::ToolError;
use super::result::Limits;
use super::toolset::{ListedTool, Outcome, ToolCall, Toolset};
use crate::api::Features;
use crate::foundation::json::Json;

/// The toolset of all entities.
#[derive(Debug)]
pub struct EntityTools {
    /// The catalogue for each combination of the features that change a tool.
    catalogues: HashMap<Features, Catalogue>,
    limits: Limits,
}

/// The features that change the arguments or the description of a tool.
const CHANGE_TOOLS: Features = Features::ORDER.and_also(Features::VERSIONS);

impl EntityTools {
    /// `new_uid` generates the UIDs of new items.
    pub fn new(new_uid: fn() -> Uuid, limits: Limits) -> Self {
        let catalogue = |features| (features, Catalogue::new(new_uid, features));
        Self {
            catalogues: CHANGE_TOOLS.combinations().map(catalogue).collect(),
            limits,
        }
    }

    fn catalogue(&self, features: Features) -> Option<&Catalogue> {
        self.catalogues.get(&features.and_in(CHANGE_TOOLS))
    }
}

impl Toolset for EntityTools {
    fn list(&self, features: Features) -> Vec<ListedTool> {
        let catalogue = self.catalogue(features);
        let specs = catalogue.into_iter().flat_map(Catalogue::specs);
        specs.map(ListedTool::from).collect()
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Outcome> {
        let failed = |error| ready(Outcome::failure(&error, call.correlation_id)).boxed();
        let Some(catalogue) = self.catalogue(call.features) else {
            return failed(ToolError::internal("features without a catalogue"));
        };
        let mut plan = match catalogue.prepare(call.name, call.arguments) {
            Ok(plan) => plan,
            Err(error) => return failed(error),
        };
        if let Some(version) = call.confirmed.and_then(|confirmed| confirmed.version) {
            plan.request.if_match.get_or_insert(version);
        }
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

    fn destruction(
        &self,
        name: &str,
        arguments: Json<'_>,
        features: Features,
    ) -> Option<Destruction> {
        let catalogue = self.catalogue(features)?;
        if !catalogue.get(name)?.operation.deletes() {
            return None;
        }
        let plan = catalogue.prepare(name, arguments).ok()?;
        let (entity, uid) = (plan.entity, plan.uid);
        Some(Destruction::of(Act {
            entity,
            uid,
            effect: Effect::Delete,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serves_the_specs_of_the_catalogue() {
        let tools = EntityTools::new(Uuid::now_v7, Limits::default());
        for features in [
            Features::NONE,
            Features::ORDER,
            Features::VERSIONS,
            Features::ALL,
        ] {
            served_with(&tools, features);
        }
    }

    fn served_with(tools: &EntityTools, features: Features) {
        let served = tools.list(features);
        let catalogue = Catalogue::new(Uuid::now_v7, features);
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
