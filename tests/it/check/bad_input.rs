//! What cannot be judged ends with exit code 2 and words that name the place.

use super::run::{Scene, deployment};

#[rstest::rstest]
#[case("a: [1\nb: 2\n", "x.yaml:")]
#[case("kind: Pod\n", "x.yaml:1: this object has no apiVersion")]
#[case("kind: Pod\napiVersion: v1\nspec:\n  image: {{ .Values.image }}\n", "helm template")]
#[case("Error: no chart\n", "x.yaml:1: this object has no kind")]
#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read(#[case] content: &str, #[case] words: &str) {
    let scene = Scene::new().await.file("x.yaml", content);
    let said = scene.run(&["check", "-f", "x.yaml"]).await;
    assert_eq!(said.code, 2);
    assert_eq!(said.out, "", "the error says it all");
    assert!(said.err.contains(words), "{}", said.err);
}

#[rstest::rstest]
#[case(&["check", "-f", "nowhere.yaml"], "nowhere.yaml")]
#[case(&["check", "-f", "."], "no file named")]
#[case(&["check", "--images-from", "nowhere.txt"], "nowhere.txt")]
#[case(&["check", "--images-from", "-"], "stdin: nothing came")]
#[tokio::test(flavor = "multi_thread")]
async fn names_of_nothing(#[case] arguments: &[&str], #[case] words: &str) {
    let said = Scene::new().await.run(arguments).await;
    assert_eq!((said.code, &*said.out), (2, ""), "{}", said.err);
    assert!(said.err.contains(words), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_comments_alone() {
    let scene = Scene::new().await.file("list.txt", "# none yet\n");
    let said = scene.run(&["check", "--images-from", "list.txt"]).await;
    assert_eq!(said.code, 2);
    assert!(said.err.contains("there is no image in this list"), "{}", said.err);
}

#[rstest::rstest]
#[case(&["check"], "--filename")]
#[case(&["check", "-f", "-", "-f", "-"], "only once")]
#[case(&["check", "-f", "-", "--images-from", "-"], "only once")]
#[case(&["check", "-f", "x", "--pull-secret", "s"], "--images-from")]
#[case(&["check", "--image", "x", "--policy", "none.yaml"], "none.yaml")]
#[case(&["check", "--image", "x", "--kubeconfig", "none"], "none")]
#[case(&["check", "--image", "x", "--context", "none"], ".kube/config")]
#[case(&["check", "--image", "x", "--registry-hosts-dir", "none"], "none")]
#[case(&["check", "--image", "x", "--ca-file", "none.pem"], "none.pem")]
#[case(&["check", "--image", "x", "--platform", "amd64"], "--platform")]
#[case(&["chekc"], "chekc")]
#[case(&[], "Usage")]
#[tokio::test(flavor = "multi_thread")]
async fn usage_that_cannot_be_met(#[case] arguments: &[&str], #[case] words: &str) {
    let said = Scene::new().await.run(arguments).await;
    assert_eq!((said.code, &*said.out), (2, ""), "{}", said.err);
    assert!(said.err.contains(words), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_do_not_parse_are_the_images_fault() {
    let scene = Scene::new().await.file("a.yaml", &deployment("a", "'a b\\u001b'"));
    let said = scene.run(&["check", "-f", "a.yaml"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("invalid_reference"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_is_data() {
    let said = Scene::new().await.run(&["check", "--help"]).await;
    assert_eq!((said.code, &*said.err), (0, ""));
    assert!(said.out.contains("--kubeconfig"), "{}", said.out);
    assert!(said.out.contains("Your own login"), "{}", said.out);
}
