//! The first page: the cluster at a glance.

use jiff::Timestamp;
use maud::{Markup, html};

use super::layout::{image, link, moment, workload};
use crate::history::{
    FailingImage, Freshness, Refusal, RegistryReport, RegistryScoreSummary, Scope, TRIAL_DAYS,
    Trend, Visibility,
};
use crate::message::sentence;
use crate::pull::{Cause, Verdict};
use crate::text::count;

/// Workloads that are named beside an image.
const MAX_WORKLOADS: usize = 5;
/// Tags that have moved, on one page.
const MAX_MOVED: usize = 100;

/// The cluster at a glance, as far as somebody may see it.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Whether the numbers may be believed.
    pub freshness: Freshness,
    /// When they were taken.
    pub at: Timestamp,
    /// Registries, those in trouble first.
    pub registries: Vec<RegistryReport>,
    /// Images that fail, those of the most containers first.
    pub failing: Vec<FailingImage>,
    /// How many of these there are.
    pub failing_in_all: usize,
    /// Whose pods were refused in the last hour, the latest first.
    pub refused: Vec<Refusal>,
    /// Images in use that could not be pulled again.
    pub lost: UnpullableImages,
    /// What enforcement would have denied; nothing for who may not know of the whole cluster.
    pub trial: Option<Vec<RegistryScoreSummary>>,
}

/// What is known of images in use that nodes could not pull again.
#[derive(Debug, Clone)]
pub enum UnpullableImages {
    /// They were looked for.
    AuditSummary(AuditSummary),
    /// They will be looked for when somebody says so.
    NotYet {
        /// Images that would be asked for.
        in_use: usize,
    },
    /// Nobody here looks, for this reason: a sentence.
    NotHere(String),
}

/// What a look at the images in use has shown.
#[derive(Debug, Clone, Default)]
pub struct AuditSummary {
    /// Those that could not be pulled.
    pub images: Vec<LostImage>,
    /// How many more of these there are.
    pub more: usize,
    /// Tags under which pods run another digest than the registry has now.
    pub moved: Vec<MovedTag>,
    /// Images that were looked at.
    pub looked: usize,
    /// Of them, those of which it could not be found out.
    pub unclear: usize,
    /// Images in use.
    pub of: usize,
    /// Whether the look goes on.
    pub goes_on: bool,
    /// When it ended, where it is not repeated by itself.
    pub ended: Option<Timestamp>,
}

/// A tag under which pods run another digest than the registry has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedTag {
    /// As it is written.
    pub image: Box<str>,
    /// Where pods run it.
    pub namespace: Box<str>,
    /// Pods there that run another digest.
    pub pods: u32,
    /// Since when that is known.
    pub since: Timestamp,
}

/// An image in use that could not be pulled again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostImage {
    /// As it is written.
    pub image: Box<str>,
    /// Where it is in use.
    pub namespace: Box<str>,
    /// Why.
    pub cause: Cause,
    /// Since when that is known.
    pub since: Timestamp,
    /// Whether it was loaded onto nodes, and never came from a registry.
    pub loaded: bool,
    /// Who has it there.
    pub scope: Scope,
}

impl Overview {
    /// The content of the page.
    pub(super) fn content(&self, visibility: &Visibility) -> Markup {
        html! {
            h1 { "What nodes can pull" }
            (self.standing(visibility))
            @if matches!(self.freshness, Freshness::Current) {
                (self.registries())
                (self.failing())
                (self.lost())
                (self.moved())
                (self.refused())
                (self.trial())
            }
        }
    }

    fn standing(&self, visibility: &Visibility) -> Markup {
        let known = match self.freshness {
            Freshness::Current => None,
            Freshness::Learning => Some("Still loading the cluster's state; no answer yet."),
            Freshness::Stale => Some("Lost contact with the API server; no answer."),
            Freshness::Absent => Some("No data about this cluster."),
        };
        html! {
            p {
                @if let Some(known) = known { strong { (known) } }
                @else { "As of " time { (self.at.strftime("%Y-%m-%d %H:%M:%S UTC")) } "." }
                @if let Visibility::Namespaces(names) = visibility {
                    " Only what is in namespace " (names.join(", ")) " is counted."
                }
                " " a href="/" { "Look again" }
            }
        }
    }

    fn registries(&self) -> Markup {
        html! {
            section aria-labelledby="registries" {
                h2 #registries { "Registries" }
                @if self.registries.is_empty() { p { "No container uses any." } }
                @else { div .table { table {
                    thead { tr {
                        th scope="col" { "Registry" } th scope="col" { "State" }
                        th scope="col" .number { "Have their image" }
                        th scope="col" .number { "Cannot get it" } th scope="col" { "Mostly" }
                    } }
                    tbody { @for one in &self.registries { (self.registry(one)) } }
                } } }
            }
        }
    }

    fn registry(&self, one: &RegistryReport) -> Markup {
        let (word, class) = match (one.trouble, one.health.failing) {
            (Some(kind), _) => (kind.message(), "bad"),
            (None, 0) => ("well", "good"),
            (None, _) => ("some images fail", "some"),
        };
        let trend = match one.trend {
            Some(Trend::Rising) => ", rising",
            Some(Trend::Falling) => ", falling",
            _ => "",
        };
        html! {
            tr {
                th scope="row" { a href=(link("/registry", &[("host", &one.host)])) { (one.host) } }
                td { span .(class) { (word) }
                    @if let Some(since) = one.trouble_since { ", began " (moment(since, self.at)) } }
                td .number { (one.health.healthy) }
                td .number { (one.health.failing) (trend) }
                td { @if let Some(cause) = one.health.main_cause.filter(|_| one.health.failing > 0) {
                    (sentence(cause, Verdict::Fails)) } }
            }
        }
    }

    fn failing(&self) -> Markup {
        html! {
            section aria-labelledby="failing" {
                h2 #failing { "Images that fail now" }
                @if self.failing.is_empty() { p { "None." } }
                @else { div .table { table {
                    thead { tr {
                        th scope="col" { "Image" } th scope="col" { "Why" }
                        th scope="col" .number { "Containers" } th scope="col" { "First" }
                        th scope="col" { "Of" }
                    } }
                    tbody { @for one in &self.failing { tr {
                        th scope="row" { (image(&one.image)) }
                        td { @for line in one.failures.causes.iter().take(3) {
                            div { (sentence(line.cause, Verdict::Fails)) } } }
                        td .number { (one.scope.failing) }
                        td { @if let Some(since) = one.failures.since { (moment(since, self.at)) } }
                        td { (workloads(&one.scope)) }
                    } } }
                } } }
                @if self.failing_in_all > self.failing.len() {
                    p { "And " (self.failing_in_all - self.failing.len()) " more: "
                        a href="/images" { "all images" } "." }
                }
            }
        }
    }

    fn lost(&self) -> Markup {
        html! {
            section aria-labelledby="lost" {
                h2 #lost { "Images in use that could not be pulled again" }
                @match &self.lost {
                    UnpullableImages::NotHere(why) => p { (why) },
                    UnpullableImages::NotYet { in_use } => form action="/look" method="post" {
                        p { "Not checked yet. Each of the " (in_use) " images in use would be asked \
                             for once, a registry's one after the other." }
                        button { "Check them now" }
                    },
                    UnpullableImages::AuditSummary(looked) => (self.looked(looked)),
                }
            }
        }
    }

    fn looked(&self, looked: &AuditSummary) -> Markup {
        html! {
            p role="status" {
                @if looked.goes_on {
                    "Looking: " (looked.looked) " of " (images_of(looked.of)) " so far. "
                } @else { "Looked at " (images_of(looked.looked)) ". " }
                @if let Some(ended) = looked.ended { "Ended " (moment(ended, self.at)) ". " }
                @match looked.images.is_empty() {
                    true => "None is known to be lost.",
                    false => "Pods go on running with these; a new node would not get them.",
                }
                @if looked.unclear > 0 {
                    " Unknown: " (images_of(looked.unclear)) "."
                }
            }
            (self.lost_images(&looked.images))
            @if looked.more > 0 { p { "And " (looked.more) " more." } }
            @if looked.ended.is_some() {
                form action="/look" method="post" { button { "Check them again" } }
            }
        }
    }

    fn lost_images(&self, images: &[LostImage]) -> Markup {
        if images.is_empty() {
            return html! {};
        }
        html! {
            div .table { table {
                thead { tr {
                    th scope="col" { "Image" } th scope="col" { "In use in" }
                    th scope="col" { "Why" } th scope="col" { "Known since" }
                    th scope="col" { "Of" } th scope="col" .number { "Nodes" }
                } }
                tbody { @for one in images { tr {
                    th scope="row" { (image(&one.image)) }
                    td { (one.namespace) }
                    td { @if one.loaded { "was loaded onto nodes: " }
                        (sentence(one.cause, Verdict::Fails)) }
                    td { (moment(one.since, self.at)) }
                    td { (workloads(&one.scope)) }
                    td .number { (one.scope.nodes.max(one.scope.nodes_listing)) }
                } } }
            } }
        }
    }

    fn moved(&self) -> Markup {
        let UnpullableImages::AuditSummary(looked) = &self.lost else { return html! {} };
        html! {
            section aria-labelledby="moved" {
                h2 #moved { "Tags that the registry has another digest for" }
                @if looked.moved.is_empty() { p { "None is known." } }
                @else {
                    p { "Pods run what the tag was when their node pulled it. With Always a container \
                         takes the registry's from its next start on; with IfNotPresent only a node \
                         without the tag does." }
                    div .table { table {
                        thead { tr {
                            th scope="col" { "Image" } th scope="col" { "Pods in" }
                            th scope="col" .number { "Pods" }
                            th scope="col" { "Known since" }
                        } }
                        tbody { @for one in looked.moved.iter().take(MAX_MOVED) { tr {
                            th scope="row" { (image(&one.image)) }
                            td { (one.namespace) }
                            td .number { (one.pods) }
                            td { (moment(one.since, self.at)) }
                        } } }
                    } }
                    @if looked.moved.len() > MAX_MOVED {
                        p { "And " (looked.moved.len() - MAX_MOVED) " more." }
                    }
                }
            }
        }
    }

    fn refused(&self) -> Markup {
        html! {
            section aria-labelledby="refused" {
                h2 #refused { "Pods that were refused in the last hour" }
                @if self.refused.is_empty() { p { "None." } }
                @else { ul { @for one in &self.refused { li {
                    (workload(&one.kind, &one.namespace, &one.name)) ": " (count(one.times, "time"))
                    ", last " (moment(one.last, self.at))
                    @if !one.by_webhook { ", by something else than an admission webhook" }
                } } } }
            }
        }
    }

    fn trial(&self) -> Markup {
        let Some(scores) = &self.trial else { return html! {} };
        let rows = || scores.iter().filter(|score| !score.would_deny.is_empty());
        html! {
            section aria-labelledby="trial" {
                h2 #trial { "What enforcement would have denied" }
                @if rows().next().is_none() { p { "Nothing in the last " (TRIAL_DAYS) " days." } }
                @else { div .table { table {
                    caption { "In the last " (TRIAL_DAYS) " days, if everything were vouched for and \
                               every namespace enforced" }
                    thead { tr {
                        th scope="col" { "Registry" } th scope="col" { "Why" }
                        th scope="col" .number { "Would deny" }
                        th scope="col" .number { "Nodes failed too" }
                        th scope="col" .number { "Pulled after all" }
                    } }
                    tbody { @for score in rows() { @for one in &score.would_deny { tr {
                        th scope="row" { a href=(link("/registry", &[("host", &score.registry)])) {
                            (score.registry) } }
                        td { (cause_text(&one.cause)) }
                        td .number { (one.count) } td .number { (one.failed) }
                        td .number { (one.pulled) }
                    } } } }
                } } }
            }
        }
    }
}

/// The workloads of an image, and how many more there are.
fn workloads(scope: &Scope) -> Markup {
    let more = scope.workloads.len().saturating_sub(MAX_WORKLOADS) + scope.more_workloads;
    html! {
        @for one in scope.workloads.iter().take(MAX_WORKLOADS) {
            div { (workload(&one.kind, &one.namespace, &one.name)) }
        }
        @if more > 0 { div { "and " (more) " more" } }
    }
}

/// A cause in plain words; its own word, if it is of another version.
fn cause_text(cause: &str) -> String {
    match Cause::from_word(cause) {
        Some(cause) => sentence(cause, Verdict::Fails).to_owned(),
        None => cause.replace('_', " "),
    }
}

fn images_of(number: usize) -> String {
    count(u32::try_from(number).unwrap_or(u32::MAX), "image")
}
