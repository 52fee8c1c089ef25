//! What `check` reads, and that what it cannot read hides nothing else.

use serde_json::Value;

use super::run::{Said, Scene, deployment};

const GOOD: &str = "REGISTRY/shop/web:1.0";

fn json_deployment(name: &str) -> String {
    format!(
        "{{\"apiVersion\": \"apps/v1\", \"kind\": \"Deployment\", \"metadata\": {{\"name\": \"{name}\"}}, \
         \"spec\": {{\"template\": {{\"spec\": {{\"containers\": [{{\"name\": \"c\", \"image\": \"{GOOD}\"}}]}}}}}}}}\n"
    )
}

fn last_line(said: &Said) -> &str {
    said.out.lines().last().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn json_in_a_row_and_between_separators() {
    let (one, two, three) =
        (json_deployment("one"), json_deployment("two"), deployment("three", GOOD));
    let scene = Scene::new().await;
    for text in [
        format!("{one}{two}"),
        format!("---\n{one}---\n{two}"),
        format!("{}{}", one.trim_end(), two),
        format!("{one}---\n{three}"),
        format!("\u{feff}{one}---\n{three}").replace('\n', "\r\n"),
    ] {
        let said = scene.run_with(&["check", "-f", "-"], &text).await;
        assert_eq!(said.code, 0, "{text}: {said:?}");
        assert_eq!(
            last_line(&said),
            "2 images in 2 objects: 2 work, 0 fail, 0 cannot tell",
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_document_that_cannot_be_read_hides_no_other() {
    let text = [
        deployment("one", GOOD),
        "a: [1\n".to_owned(),
        "kind: Pod\n".to_owned(),
        deployment("two", "REGISTRY/shop/web:9"),
    ];
    let scene =
        Scene::new().await.file("all/a.yaml", &text.join("---\n")).file("all/b.yaml", "x: ]\n");
    let said = scene.run(&["check", "-f", "all", "-f", "none.yaml"]).await;
    assert_eq!(said.code, 2, "what could not be read might have failed: {said:?}");
    assert_eq!(
        last_line(&said),
        "2 images in 2 objects: 1 works, 1 fails, 0 cannot tell; 3 inputs could not be read"
    );
    for words in ["all/a.yaml:1", "all/b.yaml:1", "none.yaml: "] {
        assert!(said.err.contains(words), "{words}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_says_what_could_not_be_read() {
    let scene = Scene::new()
        .await
        .file("all/a.yaml", &deployment("one", GOOD))
        .file("all/b.yaml", "x:\n- a: [1\nb: 2\n");
    for format in ["text", "json", "sarif", "junit", "github", "gitlab", "markdown"] {
        let said = scene.run(&["check", "-f", "all", "-o", format]).await;
        assert_eq!(said.code, 2, "{format}: {said:?}");
        let words = if format == "text" { "1 input could not be read" } else { "all/b.yaml" };
        assert!(said.out.contains(words), "{format}: {}", said.out);
        if format == "sarif" {
            let report: Value = serde_json::from_str(&said.out).unwrap();
            super::formats::is_valid_sarif(&report);
            let run = &report["runs"][0]["invocations"][0];
            assert_eq!(run["executionSuccessful"], false);
            let place = &run["toolExecutionNotifications"][0]["locations"][0]["physicalLocation"];
            assert_eq!(place["region"]["startLine"], 3, "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_told_once_with_the_command_that_renders_them() {
    let mut scene = Scene::new().await.file("all/good.yaml", &deployment("good", GOOD));
    for number in 0..5 {
        let text =
            format!("{{{{- if .x }}}}\nkind: Pod\nmetadata: {{name: a{number}}}\n{{{{- end }}}}\n");
        scene = scene.file(&format!("all/t{number}.yaml"), &text);
    }
    let quoted = deployment("quoted", "\"{{ .Values.image }}\"");
    scene = scene.file("all/t5.yaml", &quoted);
    let said = scene.run(&["check", "-f", "all"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert_eq!(
        said.err.trim_end(),
        "pullgate: all/t0.yaml and 5 more files are templates; render them first: helm template \
         CHART | pullgate check -f -"
    );
    assert!(last_line(&said).starts_with("1 image in 1 object: 1 works"), "{}", said.out);
    // Within a chart, the chart is named.
    let scene = scene.file("chart/Chart.yaml", "name: c\n").file("chart/templates/d.yaml", &quoted);
    let said = scene.run(&["check", "-f", "chart/templates/d.yaml"]).await;
    assert!(said.err.contains("helm template chart | pullgate check -f -"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_and_kustomizations_are_named_and_passed_over() {
    let scene = Scene::new()
        .await
        .file("all/good.yaml", &deployment("good", GOOD))
        .file("all/app/Chart.yaml", "name: app\n")
        .file("all/app/templates/x.yaml", "{{- if .x }}\n")
        .file("all/base/kustomization.yaml", "resources: [x.yaml]\n")
        .file("all/base/x.yaml", &deployment("base", "REGISTRY/shop/web:9"));
    let said = scene.run(&["check", "-f", "all"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(last_line(&said), "1 image in 1 object: 1 works, 0 fail, 0 cannot tell");
    assert_eq!(
        said.err,
        "pullgate: passed over the Helm chart all/app; to check it: helm template all/app | pullgate \
         check -f -\npullgate: passed over the kustomization all/base; to check it: kubectl kustomize \
         all/base | pullgate check -f -\n"
    );
    // Whoever names nothing else has checked nothing.
    let said = scene.run(&["check", "-f", "all/app"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("nothing here is checked before it is rendered"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_from_a_list() {
    let list = "# what we run\r\nREGISTRY/shop/web:1.0  # web\r\n\r\nREGISTRY/shop/web:9 REGISTRY/shop/web:1.0\r\n";
    let scene = Scene::new().await.file("images.txt", &format!("\u{feff}{list}"));
    let said = scene.run(&["check", "--images-from", "images.txt"]).await;
    insta::assert_snapshot!(said.out, @r"
    REGISTRY/shop/web:9 (images.txt)
      FAILS       line 4  tag_not_found
              tag not found in the registry — checked without credentials; may still work if nodes
              have a mirror, their own credentials or another network

    3 images in 3 objects: 2 work, 1 fails, 0 cannot tell
    ");
    assert_eq!((said.code, &*said.err), (1, ""));
    let said = scene.run_with(&["check", "--images-from", "-", "-o", "json"], list).await;
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&report["images"][1]["file"], &report["images"][1]["line"]),
        (&"stdin".into(), &4.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_custom_resources() {
    let workflow = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {generateName: w-}\n\
        spec:\n  templates:\n  - name: a\n    container:\n      image: REGISTRY/shop/web:9\n  - name: b\n    \
        script: {image: 'REGISTRY/team/app:1.0'}\n  - name: c\n    container: {image: '{{workflow.parameters.i}}'}\n";
    let flux = "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {name: f}\n\
        spec: {url: 'oci://REGISTRY/shop/web', ref: {tag: '1.0'}}\n";
    let scene = Scene::new().await.file("all.yaml", &format!("{workflow}{flux}"));
    let said = scene.run(&["check", "-f", "all.yaml", "--platform", "linux/amd64"]).await;
    insta::assert_snapshot!(said.out, @r"
    Workflow default/w- (all.yaml)
      cannot tell container a  line 8  tag_not_found
              REGISTRY/shop/web:9
              the tag seems to be missing from the registry — it is not known which pull secrets the
              pods get: checked without credentials
      cannot tell container b  line 10  unauthorized
              REGISTRY/team/app:1.0
              needs credentials (401) — it is not known which pull secrets the pods get: checked
              without credentials; which account and pull secrets it gets is decided when it runs

    3 images in 2 objects: 1 works, 0 fail, 2 cannot tell
    ");
    assert_eq!(said.err, "", "parameters are no templates that somebody forgot to render");
}
