//! What the reason that came with a message tells: whether it is about pulling at all, and what
//! it means when its words are not known.

use super::tokens::Text;
use crate::pull::Cause;

/// Reasons of events and states that are never a failure to get an image. K: kubelet events,
/// scheduler, controllers, eviction.
const OTHER: &[&str] = &[
    "AddedInterface",
    "Completed",
    "ContainerCreating",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "Created",
    "DeadlineExceeded",
    "Evicted",
    "ExceededGracePeriod",
    "FailedAttachVolume",
    "FailedKillPod",
    "FailedMount",
    "FailedPostStartHook",
    "FailedPreStopHook",
    "FailedScheduling",
    "FailedToRetrieveImagePullSecret",
    "FreeDiskSpaceFailed",
    "ImageGCFailed",
    "Killing",
    "NetworkNotReady",
    "NodeNotReady",
    "OOMKilled",
    "PodInitializing",
    "PostStartHookError",
    "Preempted",
    "ProbeWarning",
    "ProgressDeadlineExceeded",
    "Pulled",
    "Pulling",
    "RunContainerError",
    "Scheduled",
    "Started",
    "SuccessfulAttachVolume",
    "SuccessfulCreate",
    "SuccessfulDelete",
    "SuccessfulMountVolume",
    "Unhealthy",
];

/// Reasons under which failures to get an image are told.
const PULLING: &[&str] = &[
    "BackOff",
    "ErrImageNeverPull",
    "ErrImagePull",
    "Failed",
    "ImageInspectError",
    "ImagePull",
    "ImagePullBackOff",
    "InspectFailed",
    "InvalidImageName",
    "PullImageError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// Starts of words that only texts about images have.
const IMAGE_WORDS: &[&str] =
    &["image", "pull", "errimage", "imagepull", "manifest", "registry", "blob", "layer"];
/// Words of what has a name in a registry.
const NAMING_WORDS: &[&str] = &[
    "reference",
    "repository",
    "repo",
    "artifact",
    "tag",
    "tagged",
    "descriptor",
    "httpreadseeker",
];
/// Words of a failure.
const FAILURE_WORDS: &[&str] = &["failed", "failure", "error", "unable", "cannot", "couldn't"];

/// Whether the reason says that the message is not about a failure to get an image. A reason that
/// both kinds of failure share decides by the words.
pub(super) fn is_other(reason: Option<&str>, text: &Text) -> bool {
    if text.all_lower().contains("create pod sandbox") && !speaks_of_images(text) {
        return true;
    }
    match reason {
        None | Some("CreateContainerError") => false,
        Some(reason) if PULLING.contains(&reason) => false,
        Some(reason) if OTHER.contains(&reason) || reason.starts_with("Node") => true,
        // A raw parser error as reason is the kubelet's way to tell of a broken pull secret.
        Some(reason) if reason.contains(' ') => false,
        Some(_) => !speaks_of_images(text),
    }
}

/// What the reason alone says, when no words of the message are known: never a proven cause
/// unless the reason itself is the kubelet's word for one.
pub(super) fn cause_of_reason(reason: Option<&str>, text: &Text) -> Cause {
    match reason {
        Some("InvalidImageName") => Cause::InvalidReference,
        Some("ErrImageNeverPull") => Cause::ImageNeverPull,
        Some("RegistryUnavailable") => Cause::ConnectionRefused,
        Some("SignatureValidationFailed") => Cause::SignatureRejected,
        Some("ImageInspectError" | "InspectFailed") => Cause::NodeRuntime,
        Some("ImagePullBackOff" | "ErrImagePull") => Cause::BackOff,
        Some(reason) if is_other(Some(reason), text) => Cause::NotAnImageFailure,
        _ if speaks_of_images(text) && has_word(text, FAILURE_WORDS) => Cause::BackOff,
        _ => Cause::NotAnImageFailure,
    }
}

/// Whether a missing thing is an image for all that is said: the reason is of pulls, the text
/// speaks of images, or names one.
pub(super) fn is_of_images(reason: Option<&str>, text: &Text) -> bool {
    let of_pulls = reason.is_some_and(|reason| reason != "Failed" && PULLING.contains(&reason));
    of_pulls
        || speaks_of_images(text)
        || has_word(text, NAMING_WORDS)
        || text.tokens().iter().any(|&token| looks_like_a_name(text.lower(token)))
}

/// Whether a word has the shape of `registry/repository:tag`; a path on a disk has not.
fn looks_like_a_name(word: &str) -> bool {
    !word.starts_with(['/', '.', '-'])
        && !word.contains("://")
        && word.contains('/')
        && word.contains([':', '@'])
}

/// Whether a word is one of images, or the address of a registry's API (OD: `/v2/`).
fn speaks_of_images(text: &Text) -> bool {
    text.tokens().iter().any(|&token| {
        let word = text.lower(token);
        let of_registry = word.starts_with("http") && word.contains("/v2/");
        of_registry || (!token.opaque && IMAGE_WORDS.iter().any(|start| word.starts_with(start)))
    })
}

fn has_word(text: &Text, words: &[&str]) -> bool {
    text.tokens().iter().any(|&token| words.contains(&text.lower(token)))
}
