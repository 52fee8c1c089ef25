//! The flags of `pullgate check` as they are typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::given::SecretFile;
use crate::cli::lock_file::LOCK_FILE;
use crate::cli::print::OutputRequest;
use crate::image::Platform;
use crate::report::FailOn;
use crate::serve::{NODES_HEADING, NodeFlags, REGISTRY_HEADING, RegistryFlags};

/// What the long help says beside the flags.
const ABOUT: &str = "\
Check whether nodes can pull the images in manifests, and what to use instead.

It needs no cluster and touches none unless --kubeconfig or --context is given. It then decides as \
admission there would: by the cluster's PullgatePolicy, unless --policy is given, and with its \
Namespaces, Nodes and what is seen of images in its pods and events, each as far as you may list \
it; what is missing in the files is read by name (Secrets, ServiceAccounts).

Each image is looked up with the credentials that the kubelet would use: the pod's \
imagePullSecrets, else those of its ServiceAccount, read from the same files first and then from \
the cluster. A Secret that is in neither makes the verdict \"cannot tell\" unless the image can be \
pulled without it. A ServiceAccount that is in neither is taken to have no pull secrets; if the \
registry then wants a login, the verdict is \"cannot tell\", too.

Your own login, or that of the runner (DOCKER_CONFIG or ~/.docker/config.json, with credsStore and \
credHelpers), is not what nodes use. Where the pods' credentials leave it open it is asked, too: a tag \
that it proves missing is missing for everybody, and fails; what it can pull stays \"cannot tell\" \
until the pull secret is given (--pull-secret-file, --kubeconfig). For --image without a pull secret \
it decides, and the report says so. --login runner judges everything by it, --login secrets never \
asks it.

A Helm chart or a kustomization is not rendered unless --render is given: render it, and give the \
result on standard input. \
Beside the kinds that make pods, images are known in the fields of many custom resources.

Exit codes: 0 nothing at or above --fail-on, 1 something is, 2 it could not be judged: usage, or \
input that cannot be read. Everything that can be read is judged and reported anyway.";

/// What one types.
const EXAMPLES: &str = "\
Examples:
  pullgate check -f deploy.yaml
  helm template my-chart | pullgate check -f -
  pullgate check -f k8s/ --kubeconfig ~/.kube/config -o text -o sarif=report.sarif";

/// What is judged, and with what: the flags that every subcommand has which judges images.
#[derive(Debug, Clone, Args)]
#[command(
    group = clap::ArgGroup::new("subjects").required(true).multiple(true),
    group = clap::ArgGroup::new("images").multiple(true),
    group = clap::ArgGroup::new("clusters").multiple(true)
)]
pub(crate) struct SubjectFlags {
    /// File or directory with YAML or JSON, or - for standard input (repeatable; directories
    /// are searched for *.yaml, *.yml and *.json)
    #[arg(short, long, value_name = "FILE|DIR|-", group = "subjects", num_args = 1..)]
    pub(in crate::cli) filename: Vec<PathBuf>,

    /// Render the Helm charts and kustomizations that are named or found, with helm and with
    /// kustomize or kubectl from the PATH
    #[arg(long)]
    pub(super) render: bool,

    /// An image by itself, from no file (repeatable)
    #[arg(long, value_name = "REF", groups = ["subjects", "images"], num_args = 1..)]
    pub(in crate::cli) image: Vec<String>,

    /// A file with images by themselves, or - for standard input: one on a line, comments behind #
    /// (repeatable)
    #[arg(long, value_name = "FILE|-", groups = ["subjects", "images"])]
    pub(in crate::cli) images_from: Vec<PathBuf>,

    /// A pull secret for images by themselves, from the files or the cluster (repeatable)
    #[arg(long, value_name = "NAME", requires = "images")]
    pub(super) pull_secret: Vec<String>,

    /// A docker configuration with the login of a pull secret: with a name in the place of that
    /// secret, without one in the place of all that are in neither the files nor the cluster
    /// (repeatable)
    #[arg(long, value_name = "[[NAMESPACE/]NAME=]FILE")]
    pub(super) pull_secret_file: Vec<SecretFile>,

    /// Whose logins are used
    #[arg(long, value_enum, default_value_t)]
    pub(super) login: LoginUse,

    /// The ServiceAccount for images by themselves
    #[arg(long, value_name = "NAME", requires = "images", default_value = "default")]
    pub(super) service_account: String,

    /// Namespace of objects that name none [default: the context's, else default]
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,

    /// A PullgatePolicy document; without it the cluster's, or else the default policy
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,

    /// Name of the PullgatePolicy object of the cluster that counts, where there are several and
    /// none of them, or more than one, is in force
    #[arg(long, value_name = "NAME", conflicts_with = "policy", requires = "clusters")]
    pub(super) policy_from_cluster: Option<String>,

    /// Kubeconfig of a cluster to read from
    #[arg(long, value_name = "FILE", group = "clusters")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig (alone: of KUBECONFIG or ~/.kube/config)
    #[arg(long, value_name = "NAME", group = "clusters")]
    pub(super) context: Option<String>,

    /// Do not query a running pullgate serve for its history of images that would fail
    #[arg(long, requires = "clusters")]
    pub(super) no_memory: bool,

    /// Platform of the nodes, such as linux/arm64 (repeatable; instead of the cluster's)
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(super) platform: Vec<Platform>,

    /// How long one look-up may take, such as 20s, without the time that it waits for its turn
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub(super) timeout: Duration,

    #[command(flatten, next_help_heading = REGISTRY_HEADING)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the group")]
    pub(super) registry: RegistryFlags,

    #[command(flatten, next_help_heading = NODES_HEADING)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the group")]
    pub(super) nodes: NodeFlags,
}

/// Whose logins registries are asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum LoginUse {
    /// The pods' pull secrets; where they leave it open, your own login may prove an image missing
    #[default]
    Both,
    /// The pods' pull secrets alone, as nodes do
    Secrets,
    /// Your own login alone: whether images are there, not whether nodes may have them
    Runner,
}

/// Where flags about the result stand in the help: a heading of flattened flags goes on to those below.
pub(crate) const RESULT_HEADING: &str = "Result";

/// Flags of `pullgate check`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Check whether nodes can pull the images in manifests",
    long_about = ABOUT,
    after_help = EXAMPLES
)]
pub(crate) struct CheckFlags {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the group")]
    pub(super) subjects: SubjectFlags,

    /// Decide as if every namespace were in mode enforce
    #[arg(long, help_heading = RESULT_HEADING)]
    pub(super) as_enforced: bool,

    /// From which result on the exit code is 1
    #[arg(long, help_heading = RESULT_HEADING, value_enum, default_value_t)]
    pub(super) fail_on: FailOn,

    /// Format of the report, and the file that it goes to if not to standard output (repeatable;
    /// one of them may go to standard output) [default: text]
    ///
    /// - text:     for people
    /// - json:     for programs; every image with its verdict, cause, place and digest
    /// - sarif:    SARIF 2.1.0, for code scanning
    /// - junit:    JUnit XML; a suite for each file, a case for each image
    /// - github:   workflow commands, which GitHub Actions shows beside the lines of the files
    /// - gitlab:   Code Quality JSON, which GitLab shows in a merge request
    /// - markdown: a table, for a job summary or a comment
    #[arg(short, long, help_heading = RESULT_HEADING, value_name = "FORMAT[=FILE]", verbatim_doc_comment)]
    pub(super) output: Vec<OutputRequest>,

    /// Show which entries of which pull secrets match, in the kubelet's order, and what each got;
    /// no secret is shown
    #[arg(long, help_heading = RESULT_HEADING)]
    pub(super) explain_credentials: bool,

    /// A file with faults that are known: they are reported, and the check fails on others alone
    #[arg(long, help_heading = RESULT_HEADING, value_name = "FILE")]
    pub(super) baseline: Option<PathBuf>,

    /// Fail where a tag no longer stands for what the lock file says, and for images that are not in
    /// it; pullgate lock writes one [default file: pullgate.lock]
    #[arg(long, help_heading = RESULT_HEADING, value_name = "FILE", num_args = 0..=1, require_equals = true,
        default_missing_value = LOCK_FILE)]
    pub(super) locked: Option<PathBuf>,

    /// Write the faults that are found now into the baseline, instead of failing on them
    #[arg(long, help_heading = RESULT_HEADING, requires = "baseline")]
    pub(super) write_baseline: bool,
}

fn platform(text: &str) -> Result<Platform, String> {
    Platform::parse(text).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| "give a duration such as 20s or 1m30s".to_owned())?;
    match Duration::try_from(span) {
        Ok(duration) if !duration.is_zero() && duration <= MAX_TIMEOUT => Ok(duration),
        _ => Err("it must be above 0 and at most 10m".to_owned()),
    }
}

const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// As `--fail-on` takes it.
impl ValueEnum for FailOn {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Deny, Self::Fails, Self::CannotTell]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (word, help) = match self {
            Self::Deny => {
                ("deny", "Something would be denied, by the policy and the mode of its namespace")
            }
            Self::Fails => ("fails", "An image certainly fails, whatever the mode"),
            Self::CannotTell => ("cannot-tell", "It cannot be told of an image whether it works"),
        };
        Some(PossibleValue::new(word).help(help))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches};
    use rstest::rstest;

    use super::*;
    use crate::pull::Runtime;

    fn parse(arguments: &[&str]) -> Result<CheckFlags, String> {
        let command = CheckFlags::augment_args(Command::new("check").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).map_err(|e| e.to_string())?;
        CheckFlags::from_arg_matches(&matches).map_err(|e| e.to_string())
    }

    #[test]
    fn everything_given() {
        let flags = parse(&[
            "-f=a",
            "-f",
            "b",
            "-",
            "--image",
            "x",
            "y",
            "--platform=linux/arm64",
            "--timeout=1m30s",
            "--runtime=containerd://2.1",
            "--fail-on=cannot-tell",
            "-o=json",
            "-osarif=a=b.sarif",
            "-n=shop",
        ])
        .unwrap();
        assert_eq!(flags.subjects.filename, ["a", "b", "-"].map(PathBuf::from));
        assert_eq!(flags.subjects.image, ["x", "y"]);
        assert_eq!(flags.subjects.timeout, Duration::from_secs(90));
        assert_eq!(flags.subjects.nodes.runtime, Some(Runtime::Containerd(2, 1, None)));
        assert_eq!(flags.fail_on, FailOn::CannotTell);
        let outputs: Vec<String> = flags.output.iter().map(ToString::to_string).collect();
        assert_eq!(outputs, ["json", "sarif=a=b.sarif"]);
    }

    #[rstest]
    #[case(&[], "required")]
    #[case(&["-f=a", "--runtime=docker"], "--runtime")]
    #[case(&["-f=a", "--platform=arm64"], "os/architecture")]
    #[case(&["-f=a", "--timeout=0s"], "above 0")]
    #[case(&["-f=a", "--timeout=soon"], "20s")]
    #[case(&["-f=a", "--pull-secret=s"], "--image")]
    #[case(&["-f=a", "--fail-on=never"], "--fail-on")]
    fn what_cannot_be_used_is_named(#[case] arguments: &[&str], #[case] words: &str) {
        let error = parse(arguments).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
