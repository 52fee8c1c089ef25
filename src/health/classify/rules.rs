//! The table: which words mean which cause. To teach Pullgate a new message, add a line here.
//!
//! **The first rule that matches wins.** So what is certain or specific stands above what is
//! general, an inner cause above the wrappers that may carry it, and "whose fault" above "what
//! kind of connection". The language of the phrases is in `phrase.rs`. Each group names where its
//! texts come from: K kubernetes, CD containerd, CR cri-o, CI its image library, MO moby/docker,
//! GO the standard library of Go, OD the distribution specification, DD its reference registry,
//! or the registry that sends them.

use super::CredentialProblem as Problem;
use super::CredentialProblem::{Expired, Insufficient, Missing, Rejected};
use crate::pull::Cause;
use crate::pull::Cause::{
    AccessDeniedOrMissing, BackOff, BrokenPullSecret, ConnectionRefused, CorruptContent,
    DnsFailure, Forbidden, ImageNeverPull, InvalidReference, NodeRuntime, NodeStorage,
    NotAnImageFailure, PlatformMismatch, RateLimited, RegistryError, RepositoryNotFound,
    SignatureRejected, TagNotFound, Timeout, TlsFailure, Unauthorized, UnsupportedManifest,
};

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// The words, in the language of `phrase.rs`.
    pub(super) phrase: &'static str,
    /// What they mean.
    pub(super) cause: Cause,
    /// What they say about credentials.
    pub(super) problem: Option<Problem>,
    /// Where the text comes from.
    pub(super) source: &'static str,
}

const fn is(cause: Cause, phrase: &'static str, source: &'static str) -> Rule {
    Rule { phrase, cause, problem: None, source }
}

const fn login(cause: Cause, problem: Problem, phrase: &'static str, source: &'static str) -> Rule {
    Rule { phrase, cause, problem: Some(problem), source }
}

/// Not about getting an image at all: above everything that such a text may mention.
const OTHER: &[Rule] = &[
    is(NotAnImageFailure, "failed calling webhook", "K apiserver: an admission webhook"),
    is(NotAnImageFailure, "failed to call webhook", "K apiserver"),
    is(NotAnImageFailure, "admission webhook", "K apiserver: denied"),
    is(NotAnImageFailure, "unable to retrieve pull secret", "K kubelet_pods.go, old"),
    is(NotAnImageFailure, "unable to retrieve some image pull secrets", "K kubelet_pods.go"),
    is(NotAnImageFailure, "error secret|secrets|configmap|configmaps * not found", "K"),
    is(NotAnImageFailure, "couldn't find key", "K: ConfigMap or Secret key"),
    is(NotAnImageFailure, "liveness|readiness|startup probe", "K prober"),
    is(NotAnImageFailure, "mountvolume.*", "K volume manager"),
    is(NotAnImageFailure, "unable to mount|attach volumes|or", "K volume manager"),
    is(NotAnImageFailure, "failed to attach|mount volume|volumes", "K volume manager"),
    is(NotAnImageFailure, "nodes are available", "K scheduler"),
    is(NotAnImageFailure, "successfully pulled image", "K image_manager.go"),
    is(NotAnImageFailure, "already present on machine", "K image_manager.go"),
    is(NotAnImageFailure, "successfully assigned", "K scheduler"),
    is(NotAnImageFailure, "back-off * restarting failed container*", "K kubelet.go"),
    is(NotAnImageFailure, "back-off restarting failed container*", "K kubelet.go"),
    is(NotAnImageFailure, "restarting failed container*", "K kubelet.go"),
    is(NotAnImageFailure, "started|created|stopping|killing container", "K events"),
    is(NotAnImageFailure, "created pod", "K controllers"),
    is(NotAnImageFailure, "failed to garbage collect", "K image_gc_manager.go"),
    is(NotAnImageFailure, "network is not ready", "K kubelet.go"),
    is(NotAnImageFailure, "network plugin|setup", "K, CNI"),
    is(NotAnImageFailure, "failed to setup|set network for sandbox", "CD, CNI"),
    is(NotAnImageFailure, "plugin type .. failed add|delete|del", "CNI"),
    is(NotAnImageFailure, "the node was low on resource", "K eviction"),
    is(NotAnImageFailure, "node had condition", "K eviction"),
    is(NotAnImageFailure, "exceeded quota", "K quota admission"),
    is(NotAnImageFailure, "exec format error", "Linux ENOEXEC: it was pulled"),
    is(NotAnImageFailure, "no command specified", "CD, MO: it was pulled"),
    is(NotAnImageFailure, "executable file not found", "runc: it was pulled"),
    is(NotAnImageFailure, "oci runtime create|exec|start failed|error", "runc"),
    is(NotAnImageFailure, "oci runtime error", "crun"),
    is(NotAnImageFailure, "runc create failed", "runc"),
    is(NotAnImageFailure, "failed to create containerd|shim task", "CD"),
    is(NotAnImageFailure, "failed to start container", "MO, CD"),
    is(NotAnImageFailure, "failed to generate container", "CD"),
    is(NotAnImageFailure, "container has runasnonroot", "K"),
    is(NotAnImageFailure, "failed to reserve container|sandbox name", "CD, CR"),
    is(NotAnImageFailure, "cannot find volume", "K"),
    is(NotAnImageFailure, "was active on the node longer than", "K activeDeadlineSeconds"),
];

/// The kubelet's and the runtime's own words: no registry was asked.
const REFERENCE: &[Rule] = &[
    is(ImageNeverPull, "with pull policy of never", "K image_manager.go"),
    is(ImageNeverPull, "errimageneverpull", "K types.go"),
    is(InvalidReference, "parse image name|reference", "K parsers.go, CD, CI"),
    is(InvalidReference, "parse reference", "CD reference.go"),
    is(InvalidReference, "parsing image|reference name|reference|string", "CI"),
    is(InvalidReference, "failed to apply default image tag", "K image_manager.go"),
    is(InvalidReference, "invalid reference", "distribution/reference, CI"),
    is(InvalidReference, "repository name .. must be lowercase", "distribution/reference"),
    is(InvalidReference, "repository name must not be", "distribution/reference"),
    is(InvalidReference, "invalid repository|image|tag name|reference|format", "several"),
    is(InvalidReference, "invalid * invalid repository|image name", "MO"),
    is(InvalidReference, "invalid checksum digest", "opencontainers/go-digest"),
    is(InvalidReference, "unsupported digest algorithm", "opencontainers/go-digest"),
    is(InvalidReference, "invalidimagename", "K types.go"),
    is(InvalidReference, "did not resolve to an alias", "CI pkg/shortnames"),
    is(InvalidReference, "no unqualified-search registries", "CI pkg/shortnames"),
    is(InvalidReference, "trying to pull an unqualified image", "CR"),
    is(InvalidReference, "short name mode is enforcing", "CR image.go"),
    is(InvalidReference, "short-name|short resolution|name enforced|resolution", "CI"),
    is(InvalidReference, "unknown transport", "CI transports"),
    is(NodeRuntime, "pull qps exceeded", "K puller.go"),
];

/// A limit of the registry.
const LIMIT: &[Rule] = &[
    is(RateLimited, "toomanyrequests", "OD TOOMANYREQUESTS"),
    is(RateLimited, "too_many_requests", "OD, spelling of some"),
    is(RateLimited, "too many requests", "HTTP 429; CI"),
    is(RateLimited, "status|code|error|http 429", "HTTP 429"),
    is(RateLimited, "status .. 429", "HTTP 429"),
    is(RateLimited, "rate limit|limited|limits|limiting|exceeded", "Docker Hub, ECR"),
    is(RateLimited, "ratelimit*", "several"),
    is(RateLimited, "quota exceeded for quota metric", "Google"),
    is(RateLimited, "throttl*", "ECR, Azure"),
];

/// A signature or trust policy said no.
const SIGNATURE: &[Rule] = &[
    is(SignatureRejected, "signaturevalidationfailed", "K, CR: error name"),
    is(SignatureRejected, "signature validation|verification failed|error", "K, CI, notation"),
    is(SignatureRejected, "source image rejected", "CI signature/policy_eval.go"),
    is(SignatureRejected, "signature was required", "CI signature/policy_eval_signedby.go"),
    is(SignatureRejected, "rejected by policy", "CI signature/policy_eval.go"),
    is(SignatureRejected, "signature for identity .. is not accepted", "CI signature"),
    is(SignatureRejected, "invalid gpg signature", "CI signature"),
    is(SignatureRejected, "none of the signatures were accepted", "CI signature"),
    is(SignatureRejected, "no matching|valid signature|signatures", "cosign"),
    is(SignatureRejected, "no signature|signatures found|exists|exist", "cosign, CI"),
    is(SignatureRejected, "image verifier .. blocked|rejected", "CD transfer/local/pull.go"),
    is(SignatureRejected, "blocked pull of", "CD transfer/local/pull.go"),
    is(SignatureRejected, "trust data", "MO content trust"),
];

/// Nothing in it for this node.
const PLATFORM: &[Rule] = &[
    is(PlatformMismatch, "no match for platform", "CD images/handlers.go"),
    is(PlatformMismatch, "no matching manifest for", "MO"),
    is(PlatformMismatch, "no image found in image|manifest index|list", "CI internal/manifest"),
    is(PlatformMismatch, "no image found .. for architecture", "CI internal/manifest"),
    is(PlatformMismatch, "no supported platform found", "MO"),
    is(PlatformMismatch, "no manifest|child|descriptor .. platform|architecture", "CD, MO"),
    is(PlatformMismatch, "not contain descriptor matching platform", "ECS"),
    is(PlatformMismatch, "does not match the specified|requested|detected|expected platform", "MO"),
    is(PlatformMismatch, "cannot be used on this platform", "MO distribution/pull"),
    is(PlatformMismatch, "operating system is not supported", "MO"),
    is(PlatformMismatch, "operating system does not match the host", "Windows"),
    is(PlatformMismatch, "unsupported os|architecture|platform", "MO"),
    is(PlatformMismatch, "image is incompatible with", "MO on Windows"),
    is(PlatformMismatch, "platform .. not supported|found|available", "MO, CD"),
    is(PlatformMismatch, "not support|available .. platform|architecture", "several"),
];

/// Content that the runtime does not take.
const FORMAT: &[Rule] = &[
    is(UnsupportedManifest, "schema 1", "CD transfer/local/pull.go, images/image.go"),
    is(UnsupportedManifest, "schema1|schemav1", "CI, MO"),
    is(UnsupportedManifest, "is no longer supported since containerd", "CD client/pull.go"),
    is(UnsupportedManifest, "manifest.v1+prettyjws|docker.distribution.manifest.v1", "CD"),
    is(UnsupportedManifest, "docker image format v1", "MO distribution/pull_v2.go"),
    is(UnsupportedManifest, "missing signature key", "MO, libtrust: schema 1"),
    is(UnsupportedManifest, "unsupported|unexpected|unrecognized|invalid .. media type", "CD, CI"),
    is(
        UnsupportedManifest,
        "unsupported|unexpected|unrecognized|invalid .. mediatype|media-type",
        "CD, MO",
    ),
    is(UnsupportedManifest, "media type .. not|no supported|longer|recognized|allowed", "CD, CI"),
    is(UnsupportedManifest, "mediatype|media-type .. should be|not", "CI, CD"),
    is(UnsupportedManifest, "media-type expected manifest|index", "CD images/image.go"),
    is(UnsupportedManifest, "no processor|decoder|handler for media-type|media", "CD diff"),
    is(UnsupportedManifest, "failed to get stream processor", "CD diff"),
    is(UnsupportedManifest, "unknown media|mediatype|media-type", "CD, MO"),
    is(UnsupportedManifest, "unsupported schema version", "CI manifest"),
    is(UnsupportedManifest, "unsupported|unimplemented|unrecognized manifest", "CI, MO"),
    is(UnsupportedManifest, "manifest too big|large", "CI, DD"),
    is(UnsupportedManifest, "mime type", "CI image/manifest.go"),
    is(UnsupportedManifest, "expected manifest but found index", "CD images/image.go"),
    is(UnsupportedManifest, "expected index but found manifest", "CD images/image.go"),
    is(UnsupportedManifest, "encountered remote", "MO: artifact instead of image"),
    is(UnsupportedManifest, "mismatched image rootfs and manifest layers", "CD image.go"),
    is(UnsupportedManifest, "layers and diffids don't match", "CD rootfs/apply.go"),
    is(UnsupportedManifest, "invalid tar header", "GO archive/tar"),
    is(UnsupportedManifest, "gzip invalid header", "GO compress/gzip"),
    is(UnsupportedManifest, "zstd|gzip|lz4|bzip2|xz .. not supported|magic", "CI, MO"),
    is(UnsupportedManifest, "invalid compression|magic", "several"),
    is(NodeRuntime, "convert whiteout file .. operation not", "CD archive: the node refuses"),
    is(UnsupportedManifest, "convert whiteout file", "CD archive"),
    is(UnsupportedManifest, "needed for decryption", "ocicrypt: encrypted layers"),
    is(UnsupportedManifest, "unwrapping .. key|keys", "ocicrypt: encrypted layers"),
];

/// Content that does not fit its own name.
const INTEGRITY: &[Rule] = &[
    is(CorruptContent, "unexpected commit digest|size", "CD content/local/writer.go"),
    is(CorruptContent, "failed size validation|verification", "CD content"),
    is(CorruptContent, "verification failed for digest", "MO: layer verification"),
    is(CorruptContent, "manifest verification failed", "MO"),
    is(CorruptContent, "digest .. not match", "CI copy/digesting_reader.go"),
    is(CorruptContent, "not match .. digest|diffid|checksum", "CI, MO"),
    is(CorruptContent, "digest|checksum|size|crc32|hash|content mismatch|mismatched", "several"),
    is(CorruptContent, "mismatched|wrong|bad digest|checksum|size|diff", "CD rootfs/apply.go"),
    is(CorruptContent, "checksum error|failed", "several"),
    is(CorruptContent, "invalid checksum|digest|crc", "GO compress/gzip"),
    is(CorruptContent, "corrupt input|content|layer", "GO compress/flate"),
    is(CorruptContent, "corrupted", "unpigz, several"),
    is(CorruptContent, "layers from manifest don't match", "MO"),
    is(CorruptContent, "unexpected size|length", "CD, CI"),
    is(CorruptContent, "digest_invalid|size_invalid", "OD"),
    is(CorruptContent, "code failedprecondition", "gRPC code of CD"),
];

/// The node's disk.
const STORAGE: &[Rule] = &[
    is(NodeStorage, "no space left", "Linux ENOSPC"),
    is(NodeStorage, "read-only file system", "Linux EROFS"),
    is(NodeStorage, "disk quota exceeded", "Linux EDQUOT"),
    is(NodeStorage, "input/output error", "Linux EIO"),
    is(NodeStorage, "structure needs cleaning", "Linux EUCLEAN"),
    is(NodeStorage, "stale file|nfs handle|file", "Linux ESTALE"),
    is(NodeStorage, "not enough|insufficient .. space", "Windows, several"),
    is(NodeStorage, "disk is full", "several"),
    is(NodeStorage, "disk full|pressure", "several, K"),
    is(NodeStorage, "more free space", "MO devicemapper"),
    is(NodeStorage, "thin pool", "MO devicemapper"),
    is(NodeStorage, "no free|out inodes|of", "runtimes"),
];

/// The runtime and its sockets: above network errors, whose words they share.
const RUNTIME: &[Rule] = &[
    is(NodeRuntime, "dial unix", "CRI socket"),
    is(NodeRuntime, "unix://*", "CRI socket"),
    is(NodeRuntime, "connect to the docker daemon", "MO client"),
    is(NodeRuntime, "the docker daemon running", "MO client"),
    is(NodeRuntime, "grpc the connection is", "gRPC: the runtime went away"),
    is(NodeRuntime, "transport is closing", "gRPC: the runtime went away"),
    is(NodeRuntime, "error reading from server", "gRPC: the runtime went away"),
    is(NodeRuntime, "unknown service", "gRPC: CRI version"),
    is(NodeRuntime, "code unimplemented", "gRPC: CRI version"),
    is(NodeRuntime, "server is not initialized", "CD"),
    is(NodeRuntime, "snapshotter not loaded", "CD snapshots"),
    is(NodeRuntime, "snapshot|snapshotter .. not exist|found", "CD snapshots"),
    is(NodeRuntime, "unable to initialize unpacker", "CD transfer/local/pull.go"),
    is(NodeRuntime, "lease .. not|already found|exist|exists", "CD leases"),
    is(NodeRuntime, "layer|image not known", "CI storage"),
    is(NodeRuntime, "resolve to an image id", "CI storage"),
    is(NodeRuntime, "locating item|image", "CI storage"),
    is(NodeRuntime, "insufficient uids or gids", "CI storage"),
    is(NodeRuntime, "invalid policy in", "CI: broken policy.json of the node"),
    is(NodeRuntime, "loading registries configuration", "CI: broken registries.conf"),
    is(NodeRuntime, "error loading|parsing registries|registry configuration", "CI"),
    is(NodeRuntime, "too many open files", "Linux EMFILE"),
    is(NodeRuntime, "cannot allocate memory", "Linux ENOMEM"),
    is(NodeRuntime, "signal killed", "Linux"),
    is(NodeRuntime, "convert a nil pointer", "K, CRI"),
    is(NodeRuntime, "hcsshim*", "Windows"),
    is(NodeRuntime, "locked for", "CD content: another pull writes it"),
    is(NodeRuntime, "ref .. locked", "CD content: another pull writes it"),
];

/// Names that do not resolve: above refused and time-out, which are then the name server's.
const NAMES: &[Rule] = &[
    is(DnsFailure, "no such host", "GO net"),
    is(DnsFailure, "server misbehaving", "GO net"),
    is(DnsFailure, "dial tcp|tcp4|tcp6|udp lookup", "GO net"),
    is(DnsFailure, "lookup * on *", "GO net"),
    is(DnsFailure, "lookup * i/o timeout", "GO net"),
    is(DnsFailure, "in name resolution", "libc EAI_AGAIN"),
    is(DnsFailure, "name or service not known", "libc EAI_NONAME"),
    is(DnsFailure, "not resolve host|hostname|name|proxy", "curl, several"),
    is(DnsFailure, "cannot unmarshal dns message", "GO net"),
    is(DnsFailure, "no answer from dns server", "GO net"),
    is(DnsFailure, "getaddrinfo*", "Windows, Node.js"),
    is(DnsFailure, "enotfound", "Node.js"),
    is(DnsFailure, "no dns|such record|domain|name", "several"),
    is(DnsFailure, "dns .. failed|failure|error|timeout", "several"),
    is(DnsFailure, "nxdomain|servfail", "DNS"),
];

/// TLS, apart from its time-out.
const TLS: &[Rule] = &[
    is(Timeout, "tls handshake timeout", "GO net/http"),
    is(TlsFailure, "x509", "GO crypto/x509"),
    is(TlsFailure, "x509:*", "GO crypto/x509, no blank"),
    is(TlsFailure, "verify certificate", "GO crypto/tls"),
    is(TlsFailure, "certificate .. authority|expired|valid|required|unknown|trusted", "GO, TLS"),
    is(TlsFailure, "bad|invalid|self-signed certificate", "TLS alert"),
    is(TlsFailure, "http response to https client", "GO net/http"),
    is(TlsFailure, "http request to an https server", "GO net/http"),
    is(TlsFailure, "http request was sent to https port", "nginx"),
    is(TlsFailure, "look like a tls handshake", "GO crypto/tls"),
    is(TlsFailure, "remote|local error tls", "GO crypto/tls"),
    is(TlsFailure, "tls handshake|alert|failed|error", "GO crypto/tls"),
    is(TlsFailure, "handshake failure|failed|error", "TLS alert"),
    is(TlsFailure, "tls .. version|certificate|protocol|unsupported|oversized", "GO crypto/tls"),
    is(TlsFailure, "malformed http response", "GO net/http: TLS spoken to plain HTTP"),
    is(TlsFailure, "ssl .. error|failed|problem|alert", "OpenSSL"),
    is(TlsFailure, "missing client certificate", "CI: certs.d"),
    is(TlsFailure, "load x509|ca|certificate", "CD hosts"),
];

/// What a registry itself said in its own words: it beats the status of those in between.
const WORDS: &[Rule] = &[
    login(Unauthorized, Missing, "no basic auth credentials", "CD authorizer.go, MO"),
    login(Unauthorized, Rejected, "invalid username/password", "CI docker_client.go"),
    login(Unauthorized, Rejected, "incorrect username or password", "Docker Hub"),
    login(Unauthorized, Rejected, "http basic access denied", "GitLab"),
    login(Unauthorized, Expired, "token .. expired", "ECR, several"),
    login(Unauthorized, Expired, "expired .. token|credentials|password", "several"),
    login(Forbidden, Insufficient, "not authorized to perform", "ECR, Azure"),
    login(AccessDeniedOrMissing, Insufficient, "insufficient_scope", "Docker Hub, OD"),
    is(AccessDeniedOrMissing, "not exist or no pull access", "MO"),
    is(AccessDeniedOrMissing, "or it may not exist", "Google"),
    is(AccessDeniedOrMissing, "verify that it exists and you have", "GCR"),
    is(RepositoryNotFound, "name_unknown", "OD NAME_UNKNOWN"),
    is(RepositoryNotFound, "name unknown", "OD NAME_UNKNOWN, as CD and MO print it"),
    is(RepositoryNotFound, "name not known to registry", "OD NAME_UNKNOWN"),
    is(RepositoryNotFound, "repository with name .. does not exist", "ECR"),
    is(TagNotFound, "manifest unknown", "OD MANIFEST_UNKNOWN"),
    is(TagNotFound, "manifest_unknown", "OD MANIFEST_UNKNOWN"),
    is(TagNotFound, "named manifest is not known", "OD, Artifactory"),
];

/// Nothing comes, or too late.
const NETWORK: &[Rule] = &[
    is(RegistryError, "504 gateway timeout|time-out", "HTTP 504"),
    is(RegistryError, "gateway timeout|time-out", "HTTP 504"),
    is(RegistryError, "522 origin connection time-out", "CDN"),
    is(RegistryError, "status .. 520|521|522|523|524|525|526|530", "CDN"),
    is(Timeout, "i/o timeout", "GO net"),
    is(Timeout, "connection|operation timed out", "Linux ETIMEDOUT"),
    is(Timeout, "deadline exceeded", "GO context"),
    is(Timeout, "deadlineexceeded", "gRPC code"),
    is(Timeout, "client.timeout", "GO net/http"),
    is(Timeout, "timeout .. awaiting", "GO net/http"),
    is(Timeout, "request canceled", "GO net/http: given up by its time-out"),
    is(Timeout, "respond after a period of time", "Windows"),
    is(Timeout, "because of no progress", "K dockershim"),
    is(Timeout, "timed out", "several"),
    is(Timeout, "etimedout|esockettimedout", "Node.js"),
    is(Timeout, "request timeout", "HTTP 408"),
    is(Timeout, "pull .. timeout", "several"),
    is(ConnectionRefused, "connection refused", "Linux ECONNREFUSED"),
    is(ConnectionRefused, "econnrefused|econnreset", "Node.js"),
    is(ConnectionRefused, "actively refused", "Windows"),
    is(
        ConnectionRefused,
        "connection reset|closed|aborted|lost|broken|terminated",
        "Linux ECONNRESET",
    ),
    is(ConnectionRefused, "forcibly closed", "Windows"),
    is(ConnectionRefused, "no route to", "Linux EHOSTUNREACH"),
    is(ConnectionRefused, "network|host|destination is|host unreachable|down", "Linux ENETUNREACH"),
    is(ConnectionRefused, "unreachable network|host", "Windows"),
    is(ConnectionRefused, "cannot assign requested address", "Linux EADDRNOTAVAIL"),
    is(ConnectionRefused, "broken pipe", "Linux EPIPE"),
    is(ConnectionRefused, "eof", "GO io"),
    is(ConnectionRefused, "closed network connection", "GO net"),
    is(ConnectionRefused, "goaway", "GO net/http"),
    is(ConnectionRefused, "server closed", "GO net/http"),
    is(ConnectionRefused, "http2 .. closed|lost|error|frame", "GO net/http"),
    is(ConnectionRefused, "stream error", "GO net/http"),
    is(ConnectionRefused, "registryunavailable", "K, CR: error name"),
    is(ConnectionRefused, "registry is unavailable", "K image_manager.go"),
    is(ConnectionRefused, "connect permission denied", "Linux EACCES of a firewall"),
    is(ConnectionRefused, "dial tcp .. not permitted|denied", "Linux EPERM of a firewall"),
    is(ConnectionRefused, "proxyconnect", "GO net/http"),
    is(ConnectionRefused, "proxy authentication required", "HTTP 407"),
    is(ConnectionRefused, "status|code 407", "HTTP 407"),
];

/// The registry answered that it is in trouble.
const SERVER: &[Rule] = &[
    is(RegistryError, "status|http .. 500|501|502|503|504|505|507|508", "HTTP 5xx"),
    is(RegistryError, "status|http .. 405", "HTTP 405"),
    is(RegistryError, "bad gateway", "HTTP 502"),
    is(RegistryError, "service|temporarily unavailable", "HTTP 503"),
    is(RegistryError, "method not allowed", "HTTP 405"),
    is(RegistryError, "500 internal server error", "HTTP 500"),
];

/// A broken secret: the kubelet stops before it asks any registry.
const BROKEN_SECRET: &[Rule] = &[
    is(BrokenPullSecret, "illegal base64 data at input byte", "GO base64; K credentialprovider"),
    is(BrokenPullSecret, "parse auth field", "K credentialprovider/config.go"),
    is(BrokenPullSecret, "cannot unmarshal .. dockerconfig*|credentialprovider.*", "K config.go"),
];

/// Not let in.
const ACCESS: &[Rule] = &[
    login(Unauthorized, Missing, "fetch anonymous token .. 401", "CD authorizer.go"),
    login(Forbidden, Missing, "fetch anonymous token .. 403", "CD authorizer.go"),
    login(Unauthorized, Rejected, "fetch oauth token .. 400|401", "CD authorizer.go"),
    login(Forbidden, Rejected, "fetch oauth token .. 403", "CD authorizer.go"),
    is(AccessDeniedOrMissing, "pull access denied", "CD, MO: the registry hides which"),
    is(AccessDeniedOrMissing, "not exist or may require|no", "CD, MO"),
    is(AccessDeniedOrMissing, "requested access to the resource is denied", "DD DENIED, Hub"),
    login(Unauthorized, Missing, "authentication required", "DD UNAUTHORIZED"),
    login(Unauthorized, Missing, "authentication is required", "Artifactory"),
    login(Unauthorized, Rejected, "authentication failed|failure", "several"),
    login(
        Unauthorized,
        Rejected,
        "invalid|bad|wrong|incorrect credentials|token|password",
        "several",
    ),
    login(Unauthorized, Insufficient, "unauthorized to access repository", "Harbor"),
    is(Unauthorized, "unauthorized", "OD UNAUTHORIZED, HTTP 401"),
    is(Unauthorized, "status|http|code .. 401", "HTTP 401"),
    is(Unauthorized, "unauthenticated", "Google, gRPC"),
    is(Unauthorized, "error getting credentials", "docker credential helpers"),
    login(Forbidden, Insufficient, "403 forbidden", "HTTP 403"),
    login(Forbidden, Insufficient, "status|http|code .. 403", "HTTP 403"),
    login(Forbidden, Insufficient, "forbidden", "HTTP 403"),
    login(Forbidden, Insufficient, "permission_denied", "GHCR"),
    login(Forbidden, Insufficient, "permissiondenied", "gRPC"),
    login(Forbidden, Insufficient, "denied denied|access|permission|you|client", "OD DENIED"),
    login(Forbidden, Insufficient, "accessdenied*|authorizationfailure", "AWS, Azure"),
    login(Forbidden, Insufficient, "not have permission|access|authorization", "several"),
    login(Forbidden, Insufficient, "download blocking|blocked policy|by", "Artifactory Xray"),
    login(Forbidden, Insufficient, "blocked by", "several"),
    login(Unauthorized, Missing, "docker login", "MO"),
    is(Unauthorized, "failed to authorize .. unexpected status", "CD authorizer.go, cut off"),
    is(Unauthorized, "authorization failed", "CD authorizer.go"),
    is(Unauthorized, "unable to retrieve auth token", "CI docker_client.go"),
];

/// The layers are there and do not become an image: below all inner causes of it, above "not
/// found", which is then the node's.
const UNPACK: &[Rule] = &[
    is(NodeRuntime, "failed to extract layer", "CD rootfs/apply.go"),
    is(NodeRuntime, "failed to unpack image", "CD client/pull.go"),
    is(NodeRuntime, "failed to prepare extraction snapshot", "CD rootfs/apply.go"),
    is(NodeRuntime, "failed to create|prepare|stat|commit|remove snapshot", "CD snapshots"),
    is(NodeRuntime, "failed to register layer", "MO layer store"),
    is(NodeRuntime, "applylayer|applydiff", "MO, CI storage"),
    is(NodeRuntime, "processing tar file", "MO, CI storage"),
    is(NodeRuntime, "adding|creating|storing|applying layer", "CI storage"),
    is(NodeRuntime, "committing the finished image", "CI storage"),
    is(NodeRuntime, "mount callback failed", "CD mount"),
    is(NodeRuntime, "failed to mount", "CD mount"),
    is(NodeRuntime, "operation not permitted|supported", "Linux EPERM"),
    is(NodeRuntime, "device or resource busy", "Linux EBUSY"),
    is(NodeRuntime, "readlink|lchown|mkdir|symlink|unlinkat|chmod|rename", "Linux"),
    is(NodeRuntime, "no such file or directory", "Linux ENOENT"),
    is(NodeRuntime, "permission denied", "Linux EACCES"),
];

/// The tag, the digest or the repository is missing: below access, since a text may say both.
const MISSING: &[Rule] = &[
    is(RepositoryNotFound, "repository|repo|project|namespace * not found", "Harbor, Google"),
    is(RepositoryNotFound, "repo|repository|project not found", "several"),
    is(RepositoryNotFound, "repo|repository|project|namespace .. not exist", "several"),
    is(RepositoryNotFound, "project_unknown", "several"),
    is(TagNotFound, "status|http|code .. 404", "HTTP 404"),
    is(TagNotFound, "code notfound", "gRPC code of CD"),
    is(TagNotFound, "not found", "CD resolver.go, MO, ECR, Harbor"),
    is(TagNotFound, "tag|manifest|image .. not exist", "several"),
    is(TagNotFound, "no such manifest|image|tag", "MO"),
    is(TagNotFound, "blob unknown", "OD BLOB_UNKNOWN"),
    is(TagNotFound, "unknown blob", "OD BLOB_UNKNOWN, as MO prints it"),
    is(TagNotFound, "blob_unknown", "OD BLOB_UNKNOWN"),
];

/// What is left when nothing above was said.
const REST: &[Rule] = &[
    login(Forbidden, Insufficient, "denied", "OD DENIED"),
    is(RegistryError, "internal server|registry error", "HTTP 500"),
    is(RegistryError, "internal_error|unknown_error", "OD, several"),
    is(RegistryError, "unknown error", "DD errcode"),
    is(RegistryError, "operation is unsupported", "OD UNSUPPORTED"),
    is(RegistryError, "unexpected|invalid status", "CD, CI; with a status we do not know"),
    is(NodeRuntime, "context canceled|cancelled", "GO context: the pull was given up"),
    is(NodeRuntime, "code canceled", "gRPC code"),
    is(NodeRuntime, "failed to inspect image", "K image_manager.go"),
    is(NodeRuntime, "imageinspecterror", "K types.go"),
    is(NotAnImageFailure, "crashloopbackoff|createcontainererror|runcontainererror", "K"),
    is(NotAnImageFailure, "createcontainerconfigerror", "K"),
    is(BackOff, "back-off pulling image", "K image_manager.go"),
    is(BackOff, "trying and failing to pull", "K: kubectl logs of such a pod"),
    is(BackOff, "image can't be pulled", "K: kubectl logs of such a pod"),
    is(BackOff, "imagepullbackoff|errimagepull", "K types.go"),
];

/// All rules, in the order in which they are tried.
pub(super) const TABLE: &[&[Rule]] = &[
    OTHER,
    REFERENCE,
    LIMIT,
    SIGNATURE,
    PLATFORM,
    FORMAT,
    INTEGRITY,
    STORAGE,
    RUNTIME,
    NAMES,
    TLS,
    WORDS,
    NETWORK,
    SERVER,
    BROKEN_SECRET,
    ACCESS,
    UNPACK,
    MISSING,
    REST,
];
