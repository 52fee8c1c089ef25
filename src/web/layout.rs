//! What every page has: head, navigation, search, and the headers that keep it to itself.

use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use crate::history::how_long_ago;

/// Nothing but the own style may be loaded, nothing may be run, nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// What stands around a page's own content.
pub(super) struct Frame<'a> {
    /// The page's own part of the title.
    pub(super) title: &'a str,
    /// Who looks; nobody before signing in.
    pub(super) user: Option<&'a str>,
    /// What stands in the search field.
    pub(super) words: &'a str,
    /// The one namespace that is shown, if it is not all.
    pub(super) namespace: Option<&'a str>,
}

impl Frame<'_> {
    /// The whole page.
    pub(super) fn around(&self, content: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Pullgate" }
                    link rel="stylesheet" href="/style.css";
                }
                body {
                    a .skip href="#content" { "Skip to the content" }
                    header {
                        a .home href="/" { "Pullgate" }
                        @if let Some(user) = self.user { (self.tools(user)) }
                    }
                    main #content tabindex="-1" { (content) }
                }
            }
        }
    }

    fn tools(&self, user: &str) -> Markup {
        html! {
            nav aria-label="Pages" {
                a href="/" { "Overview" }
                a href="/images" { "Images" }
            }
            form role="search" action="/images" method="get" {
                label for="words" { "Find an image" }
                input #words type="search" name="words" value=(self.words) maxlength="512";
                button { "Find" }
            }
            form .who action="/sign-out" method="post" {
                span { "Signed in as " b { (user) } }
                @if let Some(namespace) = self.namespace {
                    a href="/namespace" { "namespace " (namespace) }
                }
                button { "Sign out" }
            }
        }
    }
}

/// A page with a heading and a sentence, for what went wrong.
pub(super) fn plain(
    frame: &Frame<'_>,
    status: StatusCode,
    sentence: &str,
) -> Response<axum::body::Body> {
    let content = html! { h1 { (frame.title) } p { (sentence) } };
    (status, frame.around(&content)).into_response()
}

/// Puts the headers on that every answer has.
pub(super) async fn guarded(mut response: axum::response::Response) -> axum::response::Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(name, HeaderValue::from_static("same-origin"));
    }
    response
}

/// A moment: how long ago, and exactly when.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> Markup {
    let exact = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    html! { time datetime=(exact) title=(exact) { (how_long_ago(at, now)) } }
}

/// A link to a page of this site, with its parameters.
pub(super) fn link(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(format!("{path}?"));
    text.extend_pairs(parameters).finish()
}

/// An image, with the way to its page.
pub(super) fn image(name: &str) -> Markup {
    html! { a .name href=(link("/image", &[("name", name)])) { (name) } }
}

/// A workload, with the way to its page.
pub(super) fn workload(kind: &str, namespace: &str, name: &str) -> Markup {
    let to = link("/workload", &[("kind", kind), ("namespace", namespace), ("name", name)]);
    html! { a href=(to) { (kind.to_ascii_lowercase()) "/" (name) } " in " (namespace) }
}
