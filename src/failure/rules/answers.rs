//! What a registry or its token service answered: limits, access, missing, errors. Part of the table
//! in `rules.rs`, which explains it and orders the groups.

use super::{Rule, is, login};
use crate::failure::CredentialProblem::{Expired, Insufficient, Missing, Rejected};
use crate::pull::Cause::{
    AccessDeniedOrMissing, BackOff, BrokenPullSecret, Forbidden, NodeRuntime, NotAnImageFailure,
    RateLimited, RegistryError, RepositoryNotFound, TagNotFound, Unauthorized,
};

/// A limit of the registry.
pub(super) const LIMIT: &[Rule] = &[
    is(RateLimited, "toomanyrequests", "OD TOOMANYREQUESTS"),
    is(RateLimited, "too_many_requests", "OD, spelling of some"),
    is(RateLimited, "too many request|requests", "HTTP 429; CI; Harbor for its upstream"),
    is(RateLimited, "you have reached your", "Docker Hub"),
    is(RateLimited, "too many failed login attempts", "Docker Hub"),
    is(RateLimited, "status|statuscode|code|error|http 429", "HTTP 429"),
    is(RateLimited, "pull limit|limits reached|exceeded", "several"),
    is(RateLimited, "status .. 429", "HTTP 429"),
    is(RateLimited, "rate limit|limited|limits|limiting|exceeded", "Docker Hub, ECR"),
    is(RateLimited, "ratelimit*", "several"),
    is(RateLimited, "quota exceeded for quota metric", "Google"),
    is(RateLimited, "denied quota exceeded", "Google"),
    is(RateLimited, "throttl*", "ECR, Azure"),
];

/// What a registry itself said in its own words: it beats the status of those in between.
pub(super) const WORDS: &[Rule] = &[
    login(Unauthorized, Missing, "no basic auth credentials", "CD authorizer.go, MO"),
    login(Unauthorized, Rejected, "invalid username/password", "CI docker_client.go"),
    login(Unauthorized, Rejected, "incorrect username or password", "Docker Hub"),
    login(Unauthorized, Rejected, "http basic access denied", "GitLab"),
    login(Unauthorized, Expired, "token .. expired", "ECR, several"),
    login(Unauthorized, Expired, "expired .. token|credentials|password", "several"),
    login(Unauthorized, Rejected, "security token .. is invalid", "AWS"),
    login(Forbidden, Insufficient, "not authorized to perform", "ECR, Azure"),
    is(Forbidden, "cannot be pulled due to", "Harbor: policy against vulnerabilities").advise(
        "fix what the registry's scanner found, or have its project's vulnerability policy except it",
    ),
    is(Forbidden, "projectpolicyviolation", "Harbor: the project's policies").advise(
        "ask the registry's project admin which policy (scanner, signatures) stops this image",
    ),
    is(Forbidden, "billing-related error", "ECR, GHCR, GitLab").advise(BILLING),
    is(Forbidden, "userprojectaccountproblem", "Google storage").advise(BILLING),
    is(Forbidden, "block all ip addresses", "Docker Hub: export control").advise(FILTERED),
    is(Forbidden, "client with ip", "ACR: the registry's firewall").advise(FILTERED),
    is(Forbidden, "prohibited by organization's policy", "Google: VPC service controls")
        .advise(FILTERED),
    is(RepositoryNotFound, "project .. been deleted", "Google"),
    is(TagNotFound, "was deleted or has expired", "Quay: the tag was, and nodes see it no more"),
    login(AccessDeniedOrMissing, Insufficient, "insufficient_scope", "Docker Hub, OD"),
    is(AccessDeniedOrMissing, "not exist or no pull access", "MO"),
    is(AccessDeniedOrMissing, "or it may not exist", "Google"),
    is(AccessDeniedOrMissing, "verify that it exists and you have", "GCR"),
    is(RepositoryNotFound, "name_unknown", "OD NAME_UNKNOWN"),
    is(RepositoryNotFound, "name unknown", "OD NAME_UNKNOWN, as CD and MO print it"),
    is(RepositoryNotFound, "name not known to registry", "OD NAME_UNKNOWN"),
    is(RepositoryNotFound, "repository with name .. does not exist", "ECR"),
    is(RepositoryNotFound, "fetch oauth|anonymous token .. 404", "Google, as CD prints it"),
    is(TagNotFound, "manifest unknown", "OD MANIFEST_UNKNOWN"),
    is(TagNotFound, "manifest_unknown", "OD MANIFEST_UNKNOWN"),
    is(TagNotFound, "named manifest is not known", "OD, Artifactory"),
];

/// What to do if nobody pays.
const BILLING: &str = "ask the registry's owner to fix the billing of its account";
/// What to do if the address is the reason.
const FILTERED: &str = "let the registry's firewall or address filter admit the nodes";

/// The registry answered that it is in trouble.
pub(super) const SERVER: &[Rule] = &[
    is(RegistryError, "status|statuscode|http .. 500|501|502|503|504|505|507|508", "HTTP 5xx"),
    is(RegistryError, "status|statuscode|http .. 405|409|416", "HTTP 405, 409, 416"),
    is(RegistryError, "bad gateway", "HTTP 502"),
    is(RegistryError, "service|temporarily unavailable", "HTTP 503"),
    is(RegistryError, "method not allowed", "HTTP 405"),
    is(RegistryError, "500 internal server error", "HTTP 500"),
    is(RegistryError, "missing or empty content-type|content-length", "MO: no manifest came"),
    is(RegistryError, "stopped after 10 redirects", "GO net/http"),
    is(RegistryError, "maintenance mode", "several"),
];

/// A broken secret: the kubelet stops before it asks any registry.
pub(super) const BROKEN_SECRET: &[Rule] = &[
    is(BrokenPullSecret, "illegal base64 data at input byte", "GO base64; K credentialprovider"),
    is(BrokenPullSecret, "parse auth field", "K credentialprovider/config.go"),
    is(BrokenPullSecret, "cannot unmarshal .. dockerconfig*|credentialprovider.*", "K config.go"),
];

/// What to do if the law is the reason.
const LEGAL: &str = "use another image or registry: this one is withheld for legal reasons";

/// Not let in.
pub(super) const ACCESS: &[Rule] = &[
    login(Unauthorized, Missing, "fetch anonymous token .. 401", "CD authorizer.go"),
    login(Forbidden, Missing, "fetch anonymous token .. 403", "CD authorizer.go"),
    login(Unauthorized, Rejected, "fetch oauth token .. 400|401", "CD authorizer.go"),
    login(Forbidden, Rejected, "fetch oauth token .. 403", "CD authorizer.go"),
    is(AccessDeniedOrMissing, "pull access denied", "CD, MO: the registry hides which"),
    is(AccessDeniedOrMissing, "not exist or may require|no|you", "CD, MO"),
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
    is(Unauthorized, "status|statuscode|http|code .. 401", "HTTP 401"),
    login(Unauthorized, Missing, "basic credential not found", "ORAS"),
    is(Unauthorized, "unauthenticated", "Google, gRPC"),
    is(Forbidden, "402 payment required", "HTTP 402").advise(BILLING),
    is(Forbidden, "status|statuscode|http|code .. 402", "HTTP 402").advise(BILLING),
    is(Forbidden, "451 unavailable for legal reasons", "HTTP 451").advise(LEGAL),
    is(Forbidden, "status|statuscode|http|code .. 451", "HTTP 451").advise(LEGAL),
    is(Forbidden, "403 forbidden", "HTTP 403"),
    is(Forbidden, "status|statuscode|http|code .. 403", "HTTP 403"),
    is(Forbidden, "forbidden", "HTTP 403"),
    login(Forbidden, Insufficient, "permission_denied", "GHCR"),
    login(Forbidden, Insufficient, "permissiondenied", "gRPC"),
    login(Forbidden, Insufficient, "denied denied|access|permission|you|client", "OD DENIED"),
    login(Forbidden, Insufficient, "accessdenied*|authorizationfailure", "AWS, Azure"),
    login(Forbidden, Insufficient, "not have permission|access|authorization", "several"),
    is(Forbidden, "download blocking|blocked policy|by", "Artifactory Xray").advise(BLOCKED),
    is(Forbidden, "blocked by", "several").advise(BLOCKED),
    login(Unauthorized, Missing, "docker login", "MO"),
    is(Unauthorized, "authorization failed", "CD authorizer.go"),
    is(Unauthorized, "unable to retrieve auth token", "CI docker_client.go"),
];

/// What to do if a rule of the registry about its content is the reason.
const BLOCKED: &str = "ask the registry's admin which policy (scanner, curation) blocks this image";

/// The tag, the digest or the repository is missing: below access, since a text may say both.
pub(super) const MISSING: &[Rule] = &[
    is(TagNotFound, "error image * not found", "MO, old"),
    is(RepositoryNotFound, "repository|repo|project|namespace * not found", "Harbor, Google"),
    is(RepositoryNotFound, "repo|repository|project not found", "several"),
    is(RepositoryNotFound, "repo|repository|project|namespace .. not exist", "several"),
    is(RepositoryNotFound, "project_unknown", "several"),
    is(RepositoryNotFound, "repository * was not found", "several"),
    is(TagNotFound, "status|statuscode|http|code .. 404|410", "HTTP 404, 410"),
    is(TagNotFound, "content at * not found", "CD remotes/docker/fetcher.go"),
    is(TagNotFound, "code notfound", "gRPC code of CD").if_of_images(),
    is(TagNotFound, "not found", "CD resolver.go, MO, ECR, Harbor").if_of_images(),
    is(TagNotFound, "tag|manifest|image .. not exist", "several"),
    is(TagNotFound, "no such manifest|image|tag", "MO"),
    is(TagNotFound, "blob unknown", "OD BLOB_UNKNOWN"),
    is(TagNotFound, "unknown blob", "OD BLOB_UNKNOWN, as MO prints it"),
    is(TagNotFound, "blob_unknown", "OD BLOB_UNKNOWN"),
];

/// What is left when nothing above was said: answers and ends without a better word.
pub(super) const REST: &[Rule] = &[
    is(Forbidden, "denied", "OD DENIED"),
    is(RegistryError, "internal server|registry error", "HTTP 500"),
    is(RegistryError, "internal_error|unknown_error", "OD, several"),
    is(RegistryError, "unknown error", "DD errcode"),
    is(RegistryError, "operation is unsupported", "OD UNSUPPORTED"),
    is(RegistryError, "status|http|code 400", "HTTP 400"),
    is(RegistryError, "unexpected|invalid status", "CD, CI; with a status we do not know"),
    is(NodeRuntime, "context canceled|cancelled", "GO context: the pull was given up"),
    is(NodeRuntime, "code canceled", "gRPC code"),
];

/// What stands around a cause, if none was said.
pub(super) const WAITING: &[Rule] = &[
    is(NodeRuntime, "failed to inspect image", "K image_manager.go"),
    is(NodeRuntime, "imageinspecterror", "K types.go"),
    is(NotAnImageFailure, "crashloopbackoff|createcontainererror|runcontainererror", "K"),
    is(NotAnImageFailure, "createcontainerconfigerror", "K"),
    is(BackOff, "back-off pulling image", "K image_manager.go"),
    is(BackOff, "trying and failing to pull", "K: kubectl logs of such a pod"),
    is(BackOff, "image can't be pulled", "K: kubectl logs of such a pod"),
    is(BackOff, "imagepullbackoff|errimagepull", "K types.go"),
];
