//! What `explain` says of an image or a registry, as a part of a page.

use jiff::Timestamp;
use maud::{Markup, html};

use super::layout::{image, link, moment, workload};
use crate::history::{Report, Scope, TagLine};
use crate::message::sentence;
use crate::pull::Verdict;
use crate::text::count;

/// Nodes and workloads of one digest that are named.
const MAX_NAMES: usize = 5;

/// Everything that is known of one image or registry.
#[derive(Debug, Clone)]
pub(crate) struct Explanation {
    /// What was observed.
    pub report: Report,
    /// What is wrong, in one sentence.
    pub cause: String,
    /// What to do, in one sentence.
    pub remedy: String,
    /// Commands that do it: ways, each of commands that belong together.
    pub ways: Vec<Vec<String>>,
    /// Commands that show whether it came about.
    pub verify: Vec<String>,
    /// The command that asks the registry, too, where the page does not.
    pub ask: Option<String>,
    /// What else is known: a label, and the sentence.
    pub facts: Vec<(&'static str, String)>,
}

/// One of them under a heading of this level, 1 or 2.
pub(super) struct Part<'a> {
    pub(super) explanation: &'a Explanation,
    pub(super) level: u8,
    pub(super) now: Timestamp,
}

impl Part<'_> {
    fn heading(&self, below: u8, words: &Markup) -> Markup {
        html! {
            @match self.level + below {
                1 => h1 { (words) },
                2 => h2 { (words) },
                3 => h3 { (words) },
                _ => h4 { (words) },
            }
        }
    }

    /// The content.
    pub(super) fn content(&self) -> Markup {
        let Explanation { report, cause, remedy, ways, verify, ask, facts } = self.explanation;
        let is_registry = report.subject == report.registry.host;
        html! {
            (self.heading(0, &html! { @if is_registry { "Registry " } @else { "Image " }
                span .name { (report.subject) } }))
            dl .answer {
                dt { "Cause" } dd { (cause) }
                dt { "Remedy" } dd { (remedy) }
                @for (nth, way) in ways.iter().filter(|way| !way.is_empty()).enumerate() {
                    dt { @if nth == 0 { "Do" } @else { "Or" } }
                    dd { pre tabindex="0" { code { (way.join("\n")) } } }
                }
                @if !verify.is_empty() {
                    dt { "Verify" } dd { pre tabindex="0" { code { (verify.join("\n")) } } }
                }
                @if let Some(command) = ask {
                    dt { "Ask the registry, too" } dd { pre tabindex="0" { code { (command) } } }
                }
            }
            @if report.freshness == "current" {
                @if report.partial { p { "Only namespaces in which you may list pods are counted." } }
                (self.scope()) (self.digests()) (self.failures())
                @if !is_registry { (self.tags()) }
                section {
                    (self.heading(1, &html! { @if is_registry { "Health" } @else { "Registry" } }))
                    p { (report.registry.statement()) }
                    @if !is_registry && !report.registry.host.is_empty() {
                        p { a href=(link("/registry", &[("host", &report.registry.host)])) {
                            "All about " (report.registry.host) } }
                    }
                }
            }
            @if !facts.is_empty() {
                section {
                    (self.heading(1, &html! { "What else is known" }))
                    dl { @for (label, fact) in facts { @if !label.is_empty() { dt { (label) } } dd { (fact) } } }
                }
            }
        }
    }

    fn scope(&self) -> Markup {
        let scope = &self.explanation.report.scope;
        html! {
            section {
                (self.heading(1, &html! { "Who has it" }))
                @if scope.pods == 0 {
                    p { "No pod has it now."
                        @if let Some(at) = self.explanation.report.last_success {
                            " It last ran here " (moment(at, self.now)) "." } }
                } @else {
                    p { (count(scope.pods, "pod")) " on " (count(scope.nodes, "node")) ". "
                        (containers(scope)) }
                    div .table { table {
                        thead { tr {
                            th scope="col" { "Workload" } th scope="col" .number { "Containers" }
                            th scope="col" .number { "Run" } th scope="col" .number { "Fail" }
                        } }
                        tbody { @for one in &scope.workloads { tr {
                            th scope="row" { (workload(&one.kind, &one.namespace, &one.name)) }
                            td .number { (one.containers) } td .number { (one.running) }
                            td .number { (one.failing) }
                        } } }
                    } }
                    @if scope.more_workloads > 0 { p { "And " (scope.more_workloads) " more." } }
                }
                @if scope.nodes_listing > 0 {
                    p { (count(scope.nodes_listing, "node")) " listed with it." } }
                @if !self.explanation.report.remembered.is_empty() {
                    (self.heading(2, &html! { "Gone" }))
                    ul { @for one in &self.explanation.report.remembered { li {
                        (one.kind.to_ascii_lowercase()) "/" (one.name) " in " (one.namespace) ": "
                        @if one.ran { "had it until " } @else { "could not get it until " }
                        (moment(one.last, self.now))
                    } } }
                }
            }
        }
    }

    fn digests(&self) -> Markup {
        let digests = &self.explanation.report.digests;
        if digests.is_empty() {
            return html! {};
        }
        html! {
            section {
                (self.heading(1, &html! { "What pods run under this tag" }))
                div .table { table {
                    thead { tr {
                        th scope="col" { "Digest" } th scope="col" .number { "Pods" }
                        th scope="col" { "Of" } th scope="col" { "Nodes" }
                        th scope="col" { "First started" }
                    } }
                    tbody { @for one in digests { tr {
                        th scope="row" .name { (one.digest) }
                        td .number { (one.pods) }
                        td { @for user in one.workloads.iter().take(MAX_NAMES) {
                            div { (workload(&user.kind, &user.namespace, &user.name)) } }
                            (more(one.workloads.len(), one.more_workloads)) }
                        td { @for node in one.nodes.iter().take(MAX_NAMES) { div { (node) } }
                            (more(one.nodes.len(), one.more_nodes)) }
                        td { (moment(one.since, self.now)) }
                    } } }
                } }
            }
        }
    }

    fn failures(&self) -> Markup {
        let failures = &self.explanation.report.failures;
        html! {
            section {
                (self.heading(1, &html! { "How it fails" }))
                @if failures.causes.is_empty() { p { "No container fails now." } }
                @else {
                    ul { @for line in &failures.causes { li {
                        (sentence(line.cause, Verdict::Fails)) ": "
                        (count(line.containers, "container"))
                        @if let Some(since) = line.since { ", first " (moment(since, self.now)) }
                    } } }
                    @if !failures.pods.is_empty() {
                        details { summary { "Pods" }
                            ul { @for pod in &failures.pods { li { (pod) } } } }
                    }
                }
            }
        }
    }

    fn tags(&self) -> Markup {
        let others: Vec<&TagLine> =
            self.explanation.report.tags.iter().filter(|tag| !tag.asked).collect();
        let asked = self.explanation.report.tags.iter().filter(|tag| tag.asked && tag.differs);
        html! {
            section {
                (self.heading(1, &html! { "Other tags" }))
                @for tag in asked { p { "Pods run " (tag.digests.len())
                    " different digests behind this one." } }
                @if others.is_empty() { p { "None is known here." } }
                @else { div .table { table {
                    thead { tr {
                        th scope="col" { "Image" } th scope="col" .number { "Run" }
                        th scope="col" .number { "Fail" } th scope="col" { "Last started" }
                    } }
                    tbody { @for tag in others { tr {
                        th scope="row" { (image(&tag.reference))
                            @if self.explanation.report.last_good.as_deref() == Some(&*tag.reference) {
                                " " strong { "last good" } }
                            @if tag.differs { " different digests" } }
                        td .number { (tag.running) } td .number { (tag.failing) }
                        td { @if let Some(at) = tag.last_seen { (moment(at, self.now)) } }
                    } } }
                } } }
            }
        }
    }
}

/// How many names are left out.
fn more(names: usize, others: usize) -> Markup {
    let left_out = names.saturating_sub(MAX_NAMES) + others;
    html! { @if left_out > 0 { div { "and " (left_out) " more" } } }
}

/// How many containers are in which state.
fn containers(scope: &Scope) -> String {
    format!("Containers: {}.", scope.states("without it"))
}
