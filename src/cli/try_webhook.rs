//! `pullgate try-webhook`: does the API server really ask Pullgate?
//!
//! A pod with an image that no runtime parses is created for show. Whatever the policy, Pullgate
//! has something to say of it, so silence means that it was not asked.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::CANNOT_JUDGE;
use super::print::{print, print_message};
use crate::cluster::{ClusterTarget, Connection, TriedOut, try_out};
use crate::serve::ClusterFlags;

/// An image that nobody can pull, by its name alone: no registry is asked.
const IMAGE: &str = "pullgate try-webhook";

/// What the long help says beside the flags.
const ABOUT: &str = "\
Test whether the API server calls Pullgate: creates a pod as a dry run, with an image name that no runtime \
parses, and says whether Pullgate answered.

Exit codes: 0 Pullgate answered, 1 the API server did not ask it or got no answer, 2 the API server \
could not be asked, or refused the pod for another reason.";

/// What one types.
const EXAMPLES: &str = "\
Example:
  pullgate try-webhook --namespace shop --context my-cluster";

/// Flags of `pullgate try-webhook`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Test whether the API server calls Pullgate",
    long_about = ABOUT,
    after_help = EXAMPLES
)]
pub(super) struct TryWebhookFlags {
    /// A namespace that Pullgate reviews, and where you may create pods
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,

    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Runs it. The exit code is that of the whole command.
pub(super) async fn run(flags: TryWebhookFlags) -> ExitCode {
    let namespace = flags.namespace.clone();
    match try_pod(flags).await {
        Ok(tried) => answer(&namespace, &tried),
        Err(error) => {
            print_message(format_args!("{error:#}"));
            ExitCode::from(CANNOT_JUDGE)
        }
    }
}

async fn try_pod(flags: TryWebhookFlags) -> anyhow::Result<TriedOut> {
    let ClusterFlags { kubeconfig, context } = flags.cluster;
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let target = if kubeconfig.is_none() && context.is_none() && in_pod {
        ClusterTarget::InCluster
    } else {
        ClusterTarget::Kubeconfig { path: kubeconfig, context }
    };
    let connection = Connection::to(target).await?;
    Ok(try_out(&connection, &flags.namespace, &pod()).await?)
}

/// A pod that satisfies the strictest Pod Security Standard, so that nobody else refuses it.
fn pod() -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "pullgate-try-"},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532,
                                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "try", "image": IMAGE, "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        },
    })
}

fn answer(namespace: &str, tried: &TriedOut) -> ExitCode {
    let ours = |text: &&String| text.contains(IMAGE) && text.contains("image ");
    let spoken = tried.warnings.iter().chain(&tried.refusal).find(ours);
    let (text, code) = match (spoken, &tried.refusal) {
        (Some(words), _) => (format!("Pullgate answered: {words}\n"), ExitCode::SUCCESS),
        (None, Some(refusal)) => {
            print_message(format_args!(
                "the API server refused the pod ({}): {refusal}",
                tried.status
            ));
            return ExitCode::from(CANNOT_JUDGE);
        }
        (None, None) => (
            format!(
                "the API server accepted the pod and Pullgate was not called. Look at: the namespace \
                 {namespace} (its label pullgate.dev/mode, the webhook's namespaceSelector), \
                 ready replicas and, with webhook.proof path, the caBundle in the \
                 ValidatingWebhookConfiguration; else run: \
                 kubectl get apiservice v1.admission.pullgate.dev\n"
            ),
            ExitCode::FAILURE,
        ),
    };
    match print(&text) {
        Ok(()) => code,
        Err(_unwritten) => ExitCode::from(CANNOT_JUDGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(warnings: &[&str], refusal: Option<&str>) -> String {
        let warnings = warnings.iter().map(|one| (*one).to_owned()).collect();
        let tried = TriedOut { status: 0, refusal: refusal.map(str::to_owned), warnings };
        format!("{:?}", answer("shop", &tried))
    }

    #[test]
    fn only_words_about_its_image_are_an_answer() {
        let words = format!("image {IMAGE}: invalid name (space)");
        let denied = format!("admission webhook \"pods.pullgate.dev\" denied the request: {words}");
        let success = format!("{:?}", ExitCode::SUCCESS);
        assert_eq!(code(&[&words], None), success);
        assert_eq!(code(&["another warning", &words], None), success);
        assert_eq!(code(&[], Some(&denied)), success);
        assert_eq!(code(&["another warning"], None), format!("{:?}", ExitCode::FAILURE));
        let other = code(&[], Some("pods is forbidden: exceeded quota"));
        assert_eq!(other, format!("{:?}", ExitCode::from(CANNOT_JUDGE)));
    }
}
