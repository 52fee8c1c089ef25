//! The pages by their addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, DefaultBodyLimit, Form, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use maud::{Markup, html};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::explanation::Part;
use super::layout::{Frame, guarded, image, plain};
use super::sessions::{Session, Sessions};
use super::source::{PageSource, PageTarget, SignInRefused};
use crate::history::Visibility;
use crate::image::ImageReference;
use crate::kube_views::{is_namespace_name, is_object_name};
use crate::telemetry::{instant, now};

/// How long everything for one page may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pages that are made at a time; reviews come first.
const PAGES: usize = 2;
/// People who are signing in at a time.
const SIGNING_IN: usize = 4;
/// How long a refused attempt holds its place: nobody can try many secrets.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// Images in one list.
const MAX_IMAGES: usize = 200;
/// The longest name or search.
const MAX_TEXT: usize = 1024;
/// The largest form: a token with room to spare.
const MAX_FORM: usize = 32 << 10;
const STYLE: &str = include_str!("style.css");

struct Web {
    source: Arc<dyn PageSource>,
    sessions: Sessions,
    pages: Semaphore,
    signing_in: Semaphore,
}

/// The routes of the page.
pub(crate) fn web_router(source: Arc<dyn PageSource>) -> Router {
    let web = Web {
        source,
        sessions: Sessions::new(),
        pages: Semaphore::new(PAGES),
        signing_in: Semaphore::new(SIGNING_IN),
    };
    Router::new()
        .route("/", get(overview))
        .route("/images", get(images))
        .route("/image", get(one_image))
        .route("/registry", get(registry))
        .route("/workload", get(workload))
        .route("/namespace", get(ask_namespace).post(choose_namespace))
        .route("/look", post(begin_audit))
        .route("/sign-in", get(ask_sign_in).post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/style.css", get(style))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(middleware::from_fn(from_here))
        .layer(middleware::map_response(guarded))
        .with_state(Arc::new(web))
}

/// Lets nobody in but who comes by this machine itself, as a forwarded port does, and no form of
/// another site: a cookie goes along to every port of a host, so whoever has one from another program
/// there must not be able to use it from elsewhere.
async fn from_here(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let here = peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    let own = matches!(site, None | Some(b"same-origin" | b"none"));
    if here && (own || request.method() == Method::GET) {
        return next.run(request).await;
    }
    let sentence = if here {
        "A form of another site is not taken."
    } else {
        "The page is open to forwarded ports alone: kubectl port-forward."
    };
    let frame = Frame { title: "Not from here", user: None, words: "", namespace: None };
    plain(&frame, StatusCode::FORBIDDEN, sentence)
}

/// Who asks for a page, with the time that it may take.
struct PageRequest {
    session: Arc<Session>,
    visible: Visibility,
    until: Instant,
}

impl PageRequest {
    fn frame<'a>(&'a self, title: &'a str, words: &'a str) -> Frame<'a> {
        let namespace = match &self.visible {
            Visibility::Cluster => None,
            Visibility::Namespaces(names) => names.first().map(AsRef::as_ref),
        };
        Frame { title, user: Some(&self.session.user.username), words, namespace }
    }

    fn page(&self, title: &str, words: &str, content: &Markup) -> Response {
        self.frame(title, words).around(content).into_response()
    }

    fn refusal(&self, title: &str, status: StatusCode, sentence: &str) -> Response {
        plain(&self.frame(title, ""), status, sentence)
    }
}

impl Web {
    /// Who asks and what they may see; else the page that they get instead.
    async fn visit(&self, headers: &HeaderMap) -> Result<PageRequest, Response> {
        let Some(session) = self.sessions.of(headers).await else {
            return Err(Redirect::to("/sign-in").into_response());
        };
        let until = instant() + PATIENCE;
        let namespace = session.namespace();
        let seen = self.source.visibility(&session.user, namespace.as_deref(), until).await;
        match seen {
            Some(visible) => Ok(PageRequest { session, visible, until }),
            None => Err(Redirect::to("/namespace").into_response()),
        }
    }
}

fn busy() -> Response {
    let frame = Frame { title: "Busy", user: None, words: "", namespace: None };
    plain(&frame, StatusCode::SERVICE_UNAVAILABLE, "Too many pages are being made. Try again.")
}

async fn overview(State(web): State<Arc<Web>>, headers: HeaderMap) -> Response {
    let visit = match web.visit(&headers).await {
        Ok(visit) => visit,
        Err(instead) => return instead,
    };
    let Ok(_page) = web.pages.try_acquire() else { return busy() };
    let overview = web.source.overview(&visit.visible).await;
    visit.page("Overview", "", &overview.content(&visit.visible))
}

async fn begin_audit(State(web): State<Arc<Web>>, headers: HeaderMap) -> Response {
    let visit = match web.visit(&headers).await {
        Ok(visit) => visit,
        Err(instead) => return instead,
    };
    if web.source.refresh() {
        return Redirect::to("/#lost").into_response();
    }
    visit.refusal("Not here", StatusCode::NOT_FOUND, "This page cannot start a check.")
}

#[derive(Deserialize)]
struct Words {
    #[serde(default)]
    words: String,
}

async fn images(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
    Query(Words { words }): Query<Words>,
) -> Response {
    let visit = match web.visit(&headers).await {
        Ok(visit) => visit,
        Err(instead) => return instead,
    };
    let Ok(_page) = web.pages.try_acquire() else { return busy() };
    let words = words.trim();
    if words.len() > MAX_TEXT {
        return visit.refusal("Images", StatusCode::BAD_REQUEST, "That is too long.");
    }
    let (found, all) = web.source.images(words, &visit.visible, MAX_IMAGES).await;
    // What nobody here uses may be asked about all the same.
    let named = ImageReference::parse(words).ok().filter(|_| found.is_empty());
    let content = html! {
        h1 { "Images" @if !words.is_empty() { " with " q { (words) } } }
        @if found.is_empty() {
            p { "No container has or wants one." }
            @if let Some(named) = named { p { "All about " (image(&named.to_string())) } }
        } @else {
            p { (found.len()) @if all > found.len() { " of " (all) } ", those that fail first." }
            div .table { table {
                thead { tr { th scope="col" { "Image" } th scope="col" .number { "Run" }
                             th scope="col" .number { "Fail" } } }
                tbody { @for one in &found { tr {
                    th scope="row" { (image(&one.image)) }
                    td .number { (one.running) } td .number { (one.failing) }
                } } }
            } }
        }
    };
    visit.page("Images", words, &content)
}

#[derive(Deserialize)]
struct ImageNamed {
    name: String,
}

async fn one_image(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
    Query(ImageNamed { name }): Query<ImageNamed>,
) -> Response {
    let parsed = if name.len() > MAX_TEXT { None } else { ImageReference::parse(name.trim()).ok() };
    let asked = parsed.map(PageTarget::Image).ok_or("This is not the name of an image.");
    explained(&web, &headers, "Image", asked).await
}

#[derive(Deserialize)]
struct RegistryNamed {
    host: String,
}

async fn registry(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
    Query(RegistryNamed { host }): Query<RegistryNamed>,
) -> Response {
    let parsed = ImageReference::parse(&format!("{host}/any/image")).ok();
    let parsed = parsed.filter(|_| host.len() <= MAX_TEXT);
    let asked = parsed.map(|any| PageTarget::Registry(any.host().into()));
    explained(&web, &headers, "Registry", asked.ok_or("This is not the host of a registry.")).await
}

#[derive(Deserialize)]
struct WorkloadNamed {
    kind: String,
    namespace: String,
    name: String,
}

async fn workload(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
    Query(WorkloadNamed { kind, namespace, name }): Query<WorkloadNamed>,
) -> Response {
    let is_kind = (1..64).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_alphanumeric());
    let fits = is_kind && is_namespace_name(&namespace) && is_object_name(&name);
    let asked = fits.then(|| PageTarget::Workload {
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    });
    explained(&web, &headers, "Workload", asked.ok_or("This is not the name of an object.")).await
}

/// The page about one subject.
async fn explained(
    web: &Web,
    headers: &HeaderMap,
    title: &str,
    asked: Result<PageTarget, &'static str>,
) -> Response {
    let visit = match web.visit(headers).await {
        Ok(visit) => visit,
        Err(instead) => return instead,
    };
    let Ok(_page) = web.pages.try_acquire() else { return busy() };
    let asked = match asked {
        Ok(asked) => asked,
        Err(why) => return visit.refusal(title, StatusCode::BAD_REQUEST, why),
    };
    let explaining = web.source.explain(&asked, &visit.visible, visit.until);
    let found = match tokio::time::timeout_at(visit.until.into(), explaining).await {
        Ok(Ok(found)) => found,
        Ok(Err(why)) => return visit.refusal(title, StatusCode::NOT_FOUND, &why.to_string()),
        Err(_late) => {
            let why = "No answer in time. Try again in a moment.";
            return visit.refusal(title, StatusCode::GATEWAY_TIMEOUT, why);
        }
    };
    let now = now();
    let heading = match &asked {
        PageTarget::Workload { kind, namespace, name } => {
            Some(format!("{} {name} in {namespace}", kind.to_ascii_lowercase()))
        }
        _ => None,
    };
    let level = if heading.is_some() { 2 } else { 1 };
    let content = html! {
        @if let Some(heading) = &heading { h1 { (heading) } }
        @for explanation in &found { article { (Part { explanation, level, now }.content()) } }
    };
    let subject = found.first().map(|one| one.report.subject.clone());
    visit.page(&heading.or(subject).unwrap_or_else(|| title.to_owned()), "", &content)
}

async fn ask_namespace(State(web): State<Arc<Web>>, headers: HeaderMap) -> Response {
    let Some(session) = web.sessions.of(&headers).await else {
        return Redirect::to("/sign-in").into_response();
    };
    let chosen = session.namespace();
    let frame = Frame {
        title: "Namespace",
        user: Some(&session.user.username),
        words: "",
        namespace: None,
    };
    let content = html! {
        h1 { "Which namespace?" }
        @if let Some(chosen) = &chosen {
            p role="alert" { "You may not list the pods of namespace " (chosen) "." }
        } @else {
            p { "You may not list the pods of all namespaces, so only one is shown at a time." }
        }
        form action="/namespace" method="post" {
            label for="namespace" { "Namespace" }
            input #namespace name="namespace" required maxlength="63" autocomplete="off"
                value=(chosen.as_deref().unwrap_or_default());
            button { "Show" }
        }
    };
    frame.around(&content).into_response()
}

#[derive(Deserialize)]
struct Chosen {
    namespace: String,
}

async fn choose_namespace(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
    Form(Chosen { namespace }): Form<Chosen>,
) -> Response {
    let Some(session) = web.sessions.of(&headers).await else {
        return Redirect::to("/sign-in").into_response();
    };
    let namespace = namespace.trim();
    session.look_at(is_namespace_name(namespace).then(|| namespace.into()));
    Redirect::to("/").into_response()
}

async fn ask_sign_in(
    State(web): State<Arc<Web>>,
    Query(SignInForm { key }): Query<SignInForm>,
) -> Response {
    match key {
        // From the address that the command line has printed.
        Some(key) if web.source.takes_keys_in_addresses() => enter(&web, &key).await,
        _ => sign_in_page(&web, None),
    }
}

fn sign_in_page(web: &Web, refused: Option<SignInRefused>) -> Response {
    let (sentence, command) = web.source.sign_in_help();
    let frame = Frame { title: "Sign in", user: None, words: "", namespace: None };
    let content = html! {
        h1 { "Sign in" }
        @if let Some(refused) = refused { p role="alert" { (refused) } }
        p { (sentence) }
        pre tabindex="0" { code { (command) } }
        form action="/sign-in" method="post" {
            label for="key" { "Token" }
            input #key type="password" name="key" required autocomplete="off" spellcheck="false";
            button { "Sign in" }
        }
    };
    let status = match refused {
        None => StatusCode::OK,
        Some(SignInRefused::Nobody) => StatusCode::FORBIDDEN,
        Some(SignInRefused::Unknown) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, frame.around(&content)).into_response()
}

#[derive(Deserialize)]
struct SignInForm {
    key: Option<String>,
}

async fn sign_in(
    State(web): State<Arc<Web>>,
    Form(SignInForm { key }): Form<SignInForm>,
) -> Response {
    enter(&web, &key.unwrap_or_default()).await
}

async fn enter(web: &Web, key: &str) -> Response {
    let Ok(_place) = web.signing_in.try_acquire() else { return busy() };
    match web.source.sign_in(key.trim(), instant() + PATIENCE).await {
        Ok(user) => match web.sessions.open(user).await {
            Some(cookie) => with_cookie(cookie, "/"),
            None => sign_in_page(web, Some(SignInRefused::Unknown)),
        },
        Err(refused) => {
            tokio::time::sleep(AFTER_REFUSAL).await;
            sign_in_page(web, Some(refused))
        }
    }
}

async fn sign_out(State(web): State<Arc<Web>>, headers: HeaderMap) -> Response {
    match web.sessions.end(&headers).await {
        Some(cookie) => with_cookie(cookie, "/sign-in"),
        None => Redirect::to("/sign-in").into_response(),
    }
}

fn with_cookie(cookie: HeaderValue, to: &str) -> Response {
    ([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

async fn style() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=60")];
    (headers, STYLE).into_response()
}

async fn nothing() -> Response {
    let frame = Frame { title: "Nothing here", user: None, words: "", namespace: None };
    plain(&frame, StatusCode::NOT_FOUND, "There is no such page.")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use rstest::rstest;
    use tower::ServiceExt as _;

    use super::*;

    #[rstest]
    #[case::forwarded("127.0.0.1:9", "GET", None, 200)]
    #[case::forwarded_by_six("[::1]:9", "GET", None, 200)]
    #[case::mapped("[::ffff:127.0.0.1]:9", "POST", Some("same-origin"), 200)]
    #[case::another_pod("10.1.2.3:9", "GET", None, 403)]
    #[case::nobody("", "GET", None, 403)]
    #[case::another_site("127.0.0.1:9", "POST", Some("cross-site"), 403)]
    #[case::another_port("127.0.0.1:9", "POST", Some("same-site"), 403)]
    #[case::a_link_of_another_site("127.0.0.1:9", "GET", Some("cross-site"), 200)]
    #[tokio::test]
    async fn only_forwarded_ports_are_let_in(
        #[case] peer: &str,
        #[case] method: &str,
        #[case] site: Option<&str>,
        #[case] expected: u16,
    ) {
        let routes = Router::new()
            .route("/", get(|| async { "page" }).post(|| async { "form" }))
            .layer(middleware::from_fn(from_here));
        let mut request = Request::builder().method(method).uri("/");
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        let mut request = request.body(Body::empty()).unwrap();
        if let Ok(peer) = peer.parse::<SocketAddr>() {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        assert_eq!(routes.oneshot(request).await.unwrap().status(), expected);
    }
}
