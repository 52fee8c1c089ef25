//! What `serve` publishes in the status of the `PullgatePolicy` objects: the part of its memory that
//! the command line can read.

use std::time::Instant;

use anyhow::Context as _;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;

use crate::cluster::Connection;
use crate::history::RegistryScoreSummary;
use crate::policy::{Condition, PullgatePolicySpec};

const PATH: &str = "/apis/pullgate.dev/v1alpha1/pullgatepolicies";
/// Objects that are read; there is one in force.
const MAX_OBJECTS: u32 = 20;

#[derive(Deserialize)]
struct ListWire {
    #[serde(default)]
    items: Vec<PublishedPolicy>,
}

/// One object.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct PublishedPolicy {
    pub(super) metadata: PublishedMeta,
    pub(super) spec: PullgatePolicySpec,
    pub(super) status: PublishedStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct PublishedMeta {
    pub(super) name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct PublishedStatus {
    pub(super) score: Vec<RegistryScoreSummary>,
    pub(super) conditions: Vec<Condition>,
}

/// The objects of a cluster, as far as the person may read them.
pub(super) async fn read(
    connection: &Connection,
    deadline: Instant,
) -> anyhow::Result<Vec<PublishedPolicy>> {
    let request = Request::new(PATH).list(&ListParams::default().limit(MAX_OBJECTS))?;
    let asking = connection.client().request_text(request);
    let text = tokio::time::timeout_at(deadline.into(), asking)
        .await
        .context("the API server does not answer")?
        .context("failed to read the PullgatePolicy objects")?;
    parse(&text)
}

pub(super) fn parse(text: &str) -> anyhow::Result<Vec<PublishedPolicy>> {
    let list: ListWire = serde_json::from_str(text).context("failed to read the answer")?;
    Ok(list.items)
}
