//! Whether somebody else may change pods on their way in: then what a template names is not what
//! its pods will pull.
//!
//! Registry rewriters and image swappers are mutating webhooks or policies. Which of them touch
//! images nobody can see from outside, so every one for pods counts that is not ours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;

use super::client::{CALL_TIME, Connection};
use super::error::{ApiError, CallError, unless_missing};
use super::get::{CacheEntry, Named};
use crate::review::Fetched;
use crate::telemetry::{ApiCall, Metrics};

const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
/// Newest first: a server that has one of them need not have the others.
const POLICIES: [&str; 3] = [
    "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
    "/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicies",
    "/apis/admissionregistration.k8s.io/v1alpha1/mutatingadmissionpolicies",
];
/// The names of our own webhooks end so.
const OURS: &str = ".pullgate.dev";
/// Objects that are looked at; where there are more, one of them counts.
const MOST: u32 = 500;
const LIFETIME: Duration = Duration::from_secs(60);

/// Asks for mutating webhooks and policies.
pub(super) struct Rewriters {
    connection: Connection,
    named: Named<(), bool>,
}

impl Rewriters {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        let named = Named::new(ApiCall::Rewriters, 64, metrics);
        Self { connection: connection.clone(), named }
    }

    /// Whether there are any; nothing if that could not be found out in time.
    pub(super) async fn exist(&self, deadline: Instant) -> Option<bool> {
        let connection = self.connection.clone();
        let ask = async move {
            match any(&connection).await {
                Ok(found) => {
                    CacheEntry { answer: Fetched::Found(found), bytes: 1, lifetime: LIFETIME }
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to list mutating webhooks and policies");
                    CacheEntry { bytes: 1, ..CacheEntry::unavailable() }
                }
            }
        };
        self.named.get((), deadline, ask).await.found()
    }
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize, Default)]
struct ListMeta {
    #[serde(default, rename = "continue")]
    more: Option<Box<str>>,
}

impl ListMeta {
    /// Whether there are more than were asked for.
    fn is_cut(&self) -> bool {
        self.more.as_ref().is_some_and(|more| !more.is_empty())
    }
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    webhooks: Option<Vec<Webhook>>,
}

#[derive(Deserialize)]
struct Webhook {
    #[serde(default)]
    name: Box<str>,
    #[serde(default)]
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
struct Policy {
    #[serde(default)]
    spec: PolicySpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PolicySpec {
    match_constraints: Option<Constraints>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Constraints {
    resource_rules: Option<Vec<Rule>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    operations: Option<Vec<Box<str>>>,
    api_groups: Option<Vec<Box<str>>>,
    resources: Option<Vec<Box<str>>>,
}

impl Rule {
    /// Whether pods that are created come this way.
    fn is_for_pods(&self) -> bool {
        let has = |list: &Option<Vec<Box<str>>>, words: &[&str]| {
            list.iter().flatten().any(|word| words.contains(&&**word))
        };
        has(&self.operations, &["*", "CREATE"])
            && has(&self.api_groups, &["*", ""])
            && has(&self.resources, &["*", "*/*", "pods"])
    }
}

async fn any(connection: &Connection) -> Result<bool, CallError> {
    let webhooks = list::<Configuration>(connection, WEBHOOKS).await?;
    let foreign = |webhook: &Webhook| {
        !webhook.name.ends_with(OURS) && webhook.rules.iter().flatten().any(Rule::is_for_pods)
    };
    if let Some(list) = webhooks
        && (list.metadata.is_cut()
            || list.items.iter().flat_map(|one| one.webhooks.iter().flatten()).any(foreign))
    {
        return Ok(true);
    }
    for path in POLICIES {
        let Some(list) = list::<Policy>(connection, path).await? else { continue };
        if list.metadata.is_cut() {
            return Ok(true);
        }
        let constraints = list.items.iter().filter_map(|one| one.spec.match_constraints.as_ref());
        return Ok(constraints
            .flat_map(|one| one.resource_rules.iter().flatten())
            .any(Rule::is_for_pods));
    }
    Ok(false)
}

/// The objects there; nothing where the API server does not know the resource.
async fn list<T: for<'de> Deserialize<'de>>(
    connection: &Connection,
    path: &str,
) -> Result<Option<List<T>>, CallError> {
    let request = Request::new(path).list(&ListParams::default().limit(MOST));
    let answer = unless_missing(connection.call(request, CALL_TIME).await)?;
    let decoded = answer.map(|text| serde_json::from_str(&text)).transpose();
    decoded.map_err(|error| CallError::Api(ApiError::of(kube::Error::SerdeError(error))))
}
