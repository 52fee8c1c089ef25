//! Asks one endpoint for one manifest: HEAD, and GET where the content is needed, at once where that
//! is certain from the start.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use http::{Method, StatusCode};
use moka::future::Cache;
use tokio::time::Instant;
use url::Url;

use super::classify::Reply;
use super::decode::{self, ConfigLink};
use super::known_manifests::KnownManifests;
use super::metrics::Kind;
use super::options::lifetime;
use super::options::{CacheLimits, StepLimits};
use super::session::{Session, origin};
use crate::credential::CredentialIdentity;
use crate::image::Digest;
use crate::pull::{Content, Detail, Found, KnownManifest, MediaKind, Outcome};

/// What containerd accepts, in its order. Fewer types would turn an index into a 404.
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, */*";
const DIGEST_HEADER: &str = "docker-content-digest";

/// Contents of which it is known that they could not be read.
const MAX_FAILURES: u64 = 10_000;
const FAILURES_FORGOTTEN_AFTER: Duration = Duration::from_secs(900);

/// Tags of which it is known that their content was read.
const MAX_READ: u64 = 10_000;

/// Registry, path prefix, repository and digest.
type ContentKey = Arc<str>;

/// Contents by registry, repository and digest: what was once read there need not be read again.
pub(super) struct Contents {
    kept: Cache<ContentKey, Content>,
    /// What could not be read, and by whom.
    failed: Cache<(ContentKey, CredentialIdentity), Failure>,
    /// Tags whose content was read, as numbers: what they mean now is most likely kept.
    read: Cache<u64, ()>,
    /// What digests are, whether or not their content is kept.
    known: KnownManifests,
    hasher: RandomState,
    limits: CacheLimits,
    manifest_bytes: usize,
    config_bytes: usize,
}

/// Why a content could not be read lately.
#[derive(Clone)]
struct Failure {
    outcome: Outcome,
    expires: Instant,
    /// In a row, this one included.
    count: u32,
}

impl Contents {
    pub(super) fn new(cache: &CacheLimits, limits: &StepLimits) -> Self {
        Self {
            kept: Cache::builder()
                .max_capacity(cache.content_bytes)
                .weigher(|key: &ContentKey, content| weight(key.len(), content))
                .build(),
            failed: Cache::builder()
                .max_capacity(MAX_FAILURES)
                .time_to_live(FAILURES_FORGOTTEN_AFTER)
                .build(),
            read: Cache::new(MAX_READ),
            known: KnownManifests::default(),
            hasher: RandomState::new(),
            limits: cache.clone(),
            manifest_bytes: limits.manifest_bytes,
            config_bytes: limits.config_bytes,
        }
    }

    /// Whether the content will have to be read in any case: it is wanted of whatever kind it is, and
    /// was not read before. Then there is no need to ask first whether it is there. Where reading counts
    /// as a pull (Docker Hub) less is wanted, and it is asked first.
    async fn is_read_at_once(&self, session: &Session<'_>, wanted: &Wanted<'_>) -> bool {
        if wanted.detail < Detail::Config {
            return false;
        }
        match wanted.digest {
            Some(digest) => !self.kept.contains_key(&content_key(session, digest)),
            None => self.read.get(&self.tag(session, wanted)).await.is_none(),
        }
    }

    fn tag(&self, session: &Session<'_>, wanted: &Wanted<'_>) -> u64 {
        let url = &session.endpoint.url;
        self.hasher.hash_one((url.as_str(), session.repository, wanted.reference))
    }

    async fn keep(&self, key: ContentKey, content: Content) -> Content {
        if content != Content::Unread {
            self.kept.insert(key, content.clone()).await;
        }
        content
    }

    /// What a digest of this registry is known to be.
    pub(super) fn known(&self, registry: &str, digest: &Digest) -> Option<KnownManifest> {
        self.known.get(registry, digest)
    }

    /// Notes that a digest is of this kind.
    fn note_kind(&self, session: &Session<'_>, found: &Found) {
        let Some(digest) = &found.digest else { return };
        let known = match found.media {
            MediaKind::Manifest => KnownManifest::Single,
            MediaKind::Index => KnownManifest::Index(None),
            MediaKind::Schema1 | MediaKind::Other => return,
        };
        self.known.note(session.registry, digest, known);
    }

    /// Notes which manifests the index with this digest holds.
    fn note_index(&self, session: &Session<'_>, digest: &Digest, body: &[u8]) {
        if let Some(members) = decode::members(body) {
            self.known.note(session.registry, digest, KnownManifest::Index(Some(members.into())));
        }
    }

    /// The content by `read`, unless the same failed lately. What is there stays there while its
    /// content cannot be had just now: then it is unread.
    async fn get(
        &self,
        session: &Session<'_>,
        digest: &Digest,
        read: BoxFuture<'_, Result<Content, Outcome>>,
    ) -> Result<Content, Outcome> {
        let key = (content_key(session, digest), session.identity);
        let before = self.failed.get(&key).await;
        let outcome = match before.as_ref().filter(|failure| Instant::now() < failure.expires) {
            Some(failure) => failure.outcome.clone(),
            None => match read.await {
                Ok(content) => return Ok(content),
                Err(outcome) => {
                    let count = before.map_or(0, |failure| failure.count).saturating_add(1);
                    let expires = Instant::now() + lifetime(&outcome, false, count, &self.limits);
                    let failure = Failure { outcome: outcome.clone(), expires, count };
                    self.failed.insert(key, failure).await;
                    outcome
                }
            },
        };
        match outcome {
            Outcome::Throttled { .. }
            | Outcome::RegistryError { .. }
            | Outcome::Network(_)
            | Outcome::Tls(_)
            | Outcome::Timeout(_)
            | Outcome::Overloaded => Ok(Content::Unread),
            outcome => Err(outcome),
        }
    }
}

/// About how many bytes a kept content takes.
pub(super) fn weight(key: usize, content: &Content) -> u32 {
    let platforms = match content {
        Content::Platforms(platforms) => platforms.len(),
        Content::Config(..) => 1,
        Content::Unread | Content::NoPlatform | Content::Artifact => 0,
    };
    u32::try_from(key + 100 + platforms * 160).unwrap_or(u32::MAX)
}

/// What is wanted of one endpoint.
pub(super) struct Wanted<'a> {
    /// A digest, or a tag.
    pub(super) reference: &'a str,
    /// The digest, if that is what it is.
    pub(super) digest: Option<&'a Digest>,
    pub(super) detail: Detail,
    /// Whether it was refused before: then only what a GET says is the second word.
    pub(super) was_refused: bool,
}

/// Looks for the manifest.
pub(super) async fn find(session: &Session<'_>, wanted: &Wanted<'_>, kept: &Contents) -> Outcome {
    try_find(session, wanted, kept).await.unwrap_or_else(|outcome| outcome)
}

async fn try_find(
    session: &Session<'_>,
    wanted: &Wanted<'_>,
    kept: &Contents,
) -> Result<Outcome, Outcome> {
    let url = session.url(&format!("manifests/{}", wanted.reference))?;
    let registry = origin(&session.endpoint.url);
    // Where HEADs are refused, containerd's is part of the question.
    let refused = session.means.habits(|habits| habits.heads.get(&registry).copied());
    let at_once = wanted.was_refused
        || (refused != Some(true) && kept.is_read_at_once(session, wanted).await);
    if at_once {
        let first = session.means.habits(|habits| habits.is_first_head(registry));
        return bring(session, url, wanted, kept, first).await;
    }
    let reply = session.request(Method::HEAD, url.clone(), ACCEPT, Kind::Head).await?;
    match reply.answer.status {
        StatusCode::METHOD_NOT_ALLOWED => {}
        StatusCode::OK => {
            session.means.habits(|habits| habits.note_heads(registry, false));
            if let Some(found) = announced(&reply, wanted)? {
                kept.note_kind(session, &found);
                return read_content(session, found, wanted.detail, kept)
                    .await
                    .map(Outcome::Exists);
            }
        }
        // Says no without a body that would show whose word it is.
        // Only the body of a 403 says whether it is the address asked from that is refused.
        _ if leaves_open(&reply) => {
            let mut outcome = bring(session, url.clone(), wanted, kept, false).await?;
            if let Outcome::Exists(found) = &mut outcome
                && !found.head_refused
            {
                found.head_refused = refuses_head(session, url).await;
            }
            return Ok(outcome);
        }
        _ => return Ok(session.refuse(reply, false).await),
    }
    bring(session, url, wanted, kept, false).await
}

/// Whether a refusal of a HEAD leaves open what a GET is answered.
fn leaves_open(reply: &Reply) -> bool {
    match reply.answer.status {
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => true,
        StatusCode::UNAUTHORIZED => !reply.is_challenged(),
        _ => false,
    }
}

/// Whether a registry refuses to HEAD what it has given to GET: not if the tag has come meanwhile, or
/// the token was too old.
async fn refuses_head(session: &Session<'_>, url: Url) -> bool {
    let again = session.request(Method::HEAD, url, ACCEPT, Kind::Head).await;
    let refused = again.is_ok_and(|reply| leaves_open(&reply));
    session.means.habits(|habits| habits.note_heads(origin(&session.endpoint.url), refused));
    refused
}

/// Asks for the manifest itself, and, of a registry that got no HEAD yet, beside its content whether
/// it takes them.
async fn bring(
    session: &Session<'_>,
    url: Url,
    wanted: &Wanted<'_>,
    kept: &Contents,
    with_head: bool,
) -> Result<Outcome, Outcome> {
    let reply = session.request(Method::GET, url.clone(), ACCEPT, Kind::Get).await;
    if with_head && !reply.as_ref().is_ok_and(|reply| reply.answer.status == StatusCode::OK) {
        // Only what is there shows whether HEADs are refused: the next image will.
        session.means.habits(|habits| habits.forget_heads(&origin(&session.endpoint.url)));
    }
    let reply = reply?;
    if reply.answer.status != StatusCode::OK {
        if leaves_open(&reply)
            && let Some(other) = session.ask_as_cri_o(&reply, &url, ACCEPT).await?
        {
            return found_by_cri_o(session, other, wanted).await;
        }
        return Ok(session.refuse(reply, true).await);
    }
    let content = async {
        let found = read(session, reply, wanted, kept).await?;
        read_content(session, found, wanted.detail, kept).await
    };
    let head = async { with_head && refuses_head(session, url).await };
    let (found, head_refused) = futures::future::join(content, head).await;
    let found = Found { head_refused, ..found? };
    if found.content != Content::Unread {
        kept.read.insert(kept.tag(session, wanted), ()).await;
    }
    Ok(Outcome::Exists(found))
}

/// What it comes to that CRI-O logs in where containerd is not asked to. What is there stays unread: it
/// takes that login again.
async fn found_by_cri_o(
    session: &Session<'_>,
    reply: Reply,
    wanted: &Wanted<'_>,
) -> Result<Outcome, Outcome> {
    if reply.answer.status != StatusCode::OK {
        return Ok(session.refuse(reply, true).await);
    }
    let Some(found) = announced(&reply, wanted)? else {
        return Ok(Outcome::Malformed("a manifest without a digest in its headers"));
    };
    Ok(Outcome::Exists(Found { head_refused: true, ..found }))
}

/// What the headers of a HEAD say; nothing if they do not say enough.
fn announced(reply: &Reply, wanted: &Wanted<'_>) -> Result<Option<Found>, Outcome> {
    let kind = reply.answer.header("content-type").and_then(decode::media_kind);
    let digest = reply.answer.header(DIGEST_HEADER).and_then(|text| Digest::parse(text).ok());
    let (Some(media), Some(digest)) = (kind, digest) else { return Ok(None) };
    if wanted
        .digest
        .is_some_and(|wanted| wanted.algorithm() == digest.algorithm() && *wanted != digest)
    {
        return Err(Outcome::CorruptContent);
    }
    let digest = wanted.digest.cloned().unwrap_or(digest);
    Ok(Some(Found { digest: Some(digest), media, content: Content::Unread, head_refused: false }))
}

/// Reads the manifest that a GET brought.
async fn read(
    session: &Session<'_>,
    reply: Reply,
    wanted: &Wanted<'_>,
    kept: &Contents,
) -> Result<Found, Outcome> {
    let content_type = reply.answer.header("content-type").unwrap_or_default().to_owned();
    let announced = reply.answer.header(DIGEST_HEADER).and_then(|text| Digest::parse(text).ok());
    let body = reply.answer.body(kept.manifest_bytes).await?;
    let media = decode::body_kind(&content_type, &body).map_err(Outcome::Malformed)?;
    let digest = wanted.digest.cloned().or(announced).unwrap_or_else(|| Digest::of_sha256(&body));
    if !digest.verify(&body) {
        return Err(Outcome::CorruptContent);
    }
    let key = content_key(session, &digest);
    let content = match media {
        MediaKind::Index => {
            let content = decode::platforms(&body).map_err(Outcome::Malformed)?;
            kept.note_index(session, &digest, &body);
            kept.keep(key, content).await
        }
        MediaKind::Manifest if wanted.detail >= Detail::Config => {
            if let Some(content) = kept.kept.get(&key).await {
                content
            } else {
                let read = follow_config(session, &body, key, kept).boxed();
                kept.get(session, &digest, read).await?
            }
        }
        _ => Content::Unread,
    };
    let found = Found { digest: Some(digest), media, content, head_refused: false };
    kept.note_kind(session, &found);
    Ok(found)
}

/// Brings what the detail asks for beyond presence.
pub(super) async fn read_content(
    session: &Session<'_>,
    mut found: Found,
    detail: Detail,
    kept: &Contents,
) -> Result<Found, Outcome> {
    let needed = match found.media {
        MediaKind::Index => detail >= Detail::Platforms,
        MediaKind::Manifest => detail >= Detail::Config,
        MediaKind::Schema1 | MediaKind::Other => false,
    };
    let Some(digest) = found.digest.clone().filter(|_| needed && found.content == Content::Unread)
    else {
        return Ok(found);
    };
    if let Some(content) = kept.kept.get(&content_key(session, &digest)).await {
        found.content = content;
        return Ok(found);
    }
    if session.is_short_of_pulls() {
        return Ok(found);
    }
    let read = fetch(session, &digest, found.media, kept).boxed();
    found.content = kept.get(session, &digest, read).await?;
    Ok(found)
}

async fn fetch(
    session: &Session<'_>,
    digest: &Digest,
    media: MediaKind,
    kept: &Contents,
) -> Result<Content, Outcome> {
    let url = session.url(&format!("manifests/{digest}"))?;
    let reply = session.request(Method::GET, url, ACCEPT, Kind::Get).await?;
    if reply.answer.status != StatusCode::OK {
        return Err(contradiction(session.refuse(reply, true).await));
    }
    let content_type = reply.answer.header("content-type").unwrap_or_default().to_owned();
    let body = reply.answer.body(kept.manifest_bytes).await?;
    if !digest.verify(&body) {
        return Err(Outcome::CorruptContent);
    }
    let read = decode::body_kind(&content_type, &body).map_err(Outcome::Malformed)?;
    if read != media {
        return Err(Outcome::Malformed("GET brought another kind of manifest than HEAD announced"));
    }
    let key = content_key(session, digest);
    if media == MediaKind::Index {
        let content = decode::platforms(&body).map_err(Outcome::Malformed)?;
        kept.note_index(session, digest, &body);
        return Ok(kept.keep(key, content).await);
    }
    follow_config(session, &body, key, kept).await
}

async fn follow_config(
    session: &Session<'_>,
    manifest: &[u8],
    key: ContentKey,
    kept: &Contents,
) -> Result<Content, Outcome> {
    let digest = match decode::config_link(manifest).map_err(Outcome::Malformed)? {
        ConfigLink::Image(digest) => digest,
        ConfigLink::Artifact => return Ok(kept.keep(key, Content::Artifact).await),
    };
    let url = session.url(&format!("blobs/{digest}"))?;
    let reply = session.request(Method::GET, url, "*/*", Kind::Blob).await?;
    if reply.answer.status != StatusCode::OK {
        return Err(contradiction(session.refuse(reply, true).await));
    }
    let body = reply.answer.body(kept.config_bytes).await?;
    if !digest.verify(&body) {
        return Err(Outcome::CorruptContent);
    }
    let bytes = decode::compressed_bytes(manifest);
    let content = match decode::config_platform(&body).map_err(Outcome::Malformed)? {
        Content::Config(platform, _) => Content::Config(platform, bytes),
        content => content,
    };
    Ok(kept.keep(key, content).await)
}

/// A refusal of what was announced a moment ago proves nothing about the image.
fn contradiction(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::TagMissing { .. }
        | Outcome::RepositoryMissing { .. }
        | Outcome::MissingOrDenied
        | Outcome::Unauthorized
        | Outcome::Forbidden
        | Outcome::PasswordMissing
        | Outcome::AddressRefused
        | Outcome::RedirectRefused
        | Outcome::RefusedByStranger => {
            Outcome::Malformed("what HEAD announced was refused to GET")
        }
        outcome => outcome,
    }
}

fn content_key(session: &Session<'_>, digest: &Digest) -> ContentKey {
    let registry = origin(&session.endpoint.url);
    let prefix = session.endpoint.url.path();
    format!("{registry}{prefix}/{}@{digest}", session.repository).into()
}
