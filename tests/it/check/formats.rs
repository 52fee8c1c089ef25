//! The formats of the report: what each forge reads, and what names in files cannot do to it.

use serde_json::Value;

use super::run::{Said, Scene, deployment};
use super::schema;

/// One image that works, one that is missing, one of a registry that is down.
async fn scene() -> Scene {
    Scene::new()
        .await
        .file("all/good.yaml", &deployment("good", "REGISTRY/shop/web:1.0"))
        .file("all/missing.yaml", &deployment("missing", "REGISTRY/shop/web:9"))
        .file("all/unclear.yaml", &deployment("unclear", "127.0.0.1:1/shop/web:1.0"))
}

const ALL: &[&str] = &["text", "json", "sarif", "junit", "github", "gitlab", "markdown"];

async fn check(scene: &Scene, more: &[&str]) -> Said {
    scene.run(&[&["check", "-f", "all"], more].concat()).await
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub fn is_valid_sarif(report: &Value) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sarif-schema-2.1.0.json");
    let rules = json(&std::fs::read_to_string(path).unwrap());
    let faults = schema::faults(&rules, report);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sarif_is_what_code_scanning_reads() {
    let said = check(&scene().await, &["-o", "sarif"]).await;
    assert_eq!((said.code, &*said.err), (1, ""));
    let report = json(&said.out);
    is_valid_sarif(&report);
    let run = &report["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
            (result["ruleId"].as_str().unwrap(), result["level"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told, [("tag_not_found", "error"), ("connection_refused", "note")]);
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "all/missing.yaml");
    assert_eq!(place["artifactLocation"]["uriBaseId"], "%SRCROOT%");
    assert_eq!(place["region"], serde_json::json!({"startLine": 9, "startColumn": 16}));
    let rule = rules.iter().find(|rule| rule["id"] == "tag_not_found").unwrap();
    assert!(rule["help"]["text"].as_str().unwrap().contains("Next step: use a tag"), "{rule}");
    assert!(rule["helpUri"].as_str().unwrap().ends_with("/docs/messages.md#tag_not_found"));
    // All images, the one that works too.
    let images = run["properties"]["images"].as_array().unwrap();
    let verdicts: Vec<_> = images.iter().map(|image| image["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["works", "fails", "cannot_tell"]);
    assert!(images[0]["digest"].as_str().unwrap().starts_with("sha256:"), "{}", images[0]);
    assert_eq!(images[0]["pulledWith"], "anonymous");
    assert!(images[0]["seconds"].as_f64().is_some(), "{}", images[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_has_its_heading_in_the_documentation() {
    let said = check(&scene().await, &["-o", "sarif"]).await;
    let report = json(&said.out);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for rule in report["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap() {
        let link = rule["helpUri"].as_str().unwrap();
        let (_, path) = link.split_once("/blob/main/").unwrap();
        let (file, heading) = path.split_once('#').unwrap_or((path, ""));
        let page = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(heading.is_empty() || page.contains(&format!("### `{heading}`")), "{link}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fingerprints_stay_when_lines_move_and_are_never_equal() {
    let twice = deployment("missing", "REGISTRY/shop/web:9");
    let scene = Scene::new().await.file("all/a.yaml", &format!("{twice}---\n{twice}"));
    let prints = async |scene: &Scene| {
        let said = check(scene, &["-o", "sarif", "-o", "gitlab=gl.json"]).await;
        let sarif: Vec<_> = json(&said.out)["runs"][0]["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["partialFingerprints"]["pullgateImage/v1"].clone())
            .collect();
        let gitlab = json(&std::fs::read_to_string(scene.path().join("gl.json")).unwrap());
        let gitlab: Vec<_> =
            gitlab.as_array().unwrap().iter().map(|issue| issue["fingerprint"].clone()).collect();
        assert_eq!(sarif, gitlab);
        sarif
    };
    let before = prints(&scene).await;
    assert!(before.len() == 2 && before[0] != before[1], "{before:?}");
    let moved = scene.file("all/a.yaml", &format!("# moved\n\n{twice}---\n{twice}"));
    assert_eq!(prints(&moved).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn junit_has_a_case_for_each_image() {
    let said = check(&scene().await, &["-o", "junit"]).await;
    let shown: Vec<String> = said
        .out
        .lines()
        .map(|line| {
            let line = regex::Regex::new("time=\"[0-9.]+\"").unwrap().replace_all(line, "time");
            let line = regex::Regex::new("in [0-9.]+ s")
                .unwrap()
                .replace_all(&line, "in 0 s")
                .into_owned();
            regex::Regex::new("sha256:[0-9a-f]+")
                .unwrap()
                .replace_all(&line, "sha256:…")
                .into_owned()
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="pullgate check" tests="3" failures="1" errors="0" skipped="1" time>
      <testsuite name="all/good.yaml" tests="1" failures="0" errors="0" skipped="0" time>
        <testcase name="Deployment shop/good, container web: REGISTRY/shop/web:1.0" classname="all/good.yaml" time file="all/good.yaml" line="9">
          <system-out>sha256:…; credentials: anonymous; looked up in 0 s</system-out>
        </testcase>
      </testsuite>
      <testsuite name="all/missing.yaml" tests="1" failures="1" errors="0" skipped="0" time>
        <testcase name="Deployment shop/missing, container web: REGISTRY/shop/web:9" classname="all/missing.yaml" time file="all/missing.yaml" line="9">
          <failure type="tag_not_found" message="image REGISTRY/shop/web:9: tag not found in the registry — checked without credentials; may still work if nodes have a mirror, their own credentials, the image or another network">image REGISTRY/shop/web:9: tag not found in the registry — checked without credentials; may still work if nodes have a mirror, their own credentials, the image or another network</failure>
          <system-out>looked up in 0 s</system-out>
        </testcase>
      </testsuite>
      <testsuite name="all/unclear.yaml" tests="1" failures="0" errors="0" skipped="1" time>
        <testcase name="Deployment shop/unclear, container web: 127.0.0.1:1/shop/web:1.0" classname="all/unclear.yaml" time file="all/unclear.yaml" line="9">
          <skipped message="image 127.0.0.1:1/shop/web:1.0: the registry cannot be reached"/>
          <system-out>looked up in 0 s</system-out>
        </testcase>
      </testsuite>
    </testsuites>
    "#);
    assert_eq!(said.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn github_shows_problems_beside_their_lines() {
    let said = check(&scene().await, &["-o", "github"]).await;
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(
        lines[0].starts_with(
            "::error file=all/missing.yaml,line=9,col=16,title=pullgate%3A tag_not_found::image \
             REGISTRY/shop/web:9: tag not found"
        ),
        "{}",
        said.out
    );
    assert!(lines[1].starts_with("::notice file=all/unclear.yaml,line=9,"), "{}", said.out);
    assert_eq!(lines[2], "::group::Images without a problem");
    assert!(
        lines[3].starts_with("works  REGISTRY/shop/web:1.0  Deployment shop/good"),
        "{}",
        said.out
    );
    assert_eq!(
        &lines[4..],
        ["::endgroup::", "3 images in 3 objects: 1 works, 1 fails, 1 cannot tell"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gitlab_reads_issues() {
    let said = check(&scene().await, &["-o", "gitlab"]).await;
    let issues = json(&said.out);
    let shown: Vec<_> = issues
        .as_array()
        .unwrap()
        .iter()
        .map(|issue| {
            assert!(!issue["fingerprint"].as_str().unwrap().is_empty());
            assert!(issue["description"].as_str().unwrap().starts_with("image "));
            let word = |pointer: &str| issue.pointer(pointer).unwrap().to_string();
            ["/check_name", "/severity", "/location/path", "/location/lines/begin"]
                .map(word)
                .join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#""pullgate/tag_not_found" "critical" "all/missing.yaml" 9"#,
            r#""pullgate/connection_refused" "info" "all/unclear.yaml" 9"#,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn markdown_is_a_table() {
    let said = check(&scene().await, &["-o", "markdown"]).await;
    let out = regex::Regex::new("sha256:[0-9a-f]+|[0-9.]+ s ").unwrap();
    insta::assert_snapshot!(out.replace_all(&said.out, "… "), @r#"
    ### Pullgate: 3 images in 3 objects: 1 works, 1 fails, 1 cannot tell

    | | image | where | why, and what to do |
    |---|---|---|---|
    | **Fails** | `REGISTRY/shop/web:9` | `all/missing.yaml:9`<br>Deployment shop/missing, container web | tag not found in the registry — checked without credentials; may still work if nodes have a mirror, their own credentials, the image or another network |
    | cannot tell | `127.0.0.1:1/shop/web:1.0` | `all/unclear.yaml:9`<br>Deployment shop/unclear, container web | the registry cannot be reached |

    <details><summary>1 image without a problem</summary>

    | | image | where | digest, platforms, credentials, time |
    |---|---|---|---|
    | works | `REGISTRY/shop/web:1.0` | `all/good.yaml:9`<br>Deployment shop/good, container web | … ; credentials: anonymous; looked up in … |

    </details>
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_reports_at_once() {
    let scene = scene().await;
    let outputs = ALL.iter().skip(1).map(|format| format!("{format}=r.{format}"));
    let outputs: Vec<String> = outputs.flat_map(|output| ["-o".to_owned(), output]).collect();
    let more: Vec<&str> =
        ["-o", "text"].into_iter().chain(outputs.iter().map(String::as_str)).collect();
    let said = check(&scene, &more).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.ends_with("1 works, 1 fails, 1 cannot tell\n"), "{}", said.out);
    for format in ALL.iter().skip(1) {
        let text = std::fs::read_to_string(scene.path().join(format!("r.{format}"))).unwrap();
        assert!(text.contains("shop/web:9"), "{format}: {text}");
    }
    let report = std::fs::read_to_string(scene.path().join("r.sarif")).unwrap();
    is_valid_sarif(&json(&report));
    let alone = check(&scene, &["-o", "sarif=r.sarif"]).await;
    assert_eq!((alone.code, &*alone.out), (1, ""), "all reports go to files");
}

#[rstest::rstest]
#[case(&["-o", "text", "-o", "json"], "standard output")]
#[case(&["-o", "json=r", "-o", "sarif=r"], "the same file")]
#[case(&["-o", "json=none/r"], "no directory none")]
#[case(&["-o", "xml"], "text, json, sarif")]
#[tokio::test(flavor = "multi_thread")]
async fn reports_that_have_nowhere_to_go(#[case] more: &[&str], #[case] words: &str) {
    let said = check(&scene().await, more).await;
    assert_eq!((said.code, &*said.out), (2, ""), "{said:?}");
    assert!(said.err.contains(words), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_cannot_be_written_is_told_and_the_others_are_written() {
    let scene = scene().await;
    std::fs::create_dir(scene.path().join("taken")).unwrap();
    let said = check(&scene, &["-o", "json=taken", "-o", "text"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("failed to write the report to taken"), "{}", said.err);
    assert!(said.out.contains("1 fails"), "{}", said.out);
}

/// Names that would be commands, markup or elements if they were passed on as they are.
#[tokio::test(flavor = "multi_thread")]
async fn names_in_files_stay_names_in_every_format() {
    let name = "::error::a,b%0A ##[debug]x ]]> <b>\\\"& `code` | @me";
    let hostile = deployment("hostile", &format!("\"{name}\\n::stop-commands::x\""));
    let scene = Scene::new().await.file("all/a,b:c d.yaml", &hostile);
    let more: Vec<String> =
        ALL.iter().flat_map(|format| ["-o".to_owned(), format!("{format}=r.{format}")]).collect();
    let said = check(&scene, &more.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(said.code, 1, "{said:?}");
    let read =
        |format: &str| std::fs::read_to_string(scene.path().join(format!("r.{format}"))).unwrap();
    is_valid_sarif(&json(&read("sarif")));
    assert!(read("sarif").contains("a%2Cb%3Ac%20d.yaml"), "{}", read("sarif"));
    let github = read("github");
    assert_eq!(github.lines().count(), 2, "{github}");
    assert!(github.starts_with("::error file=all/a%2Cb%3Ac d.yaml,line=9,"), "{github}");
    assert!(!github.contains("##["), "{github}");
    let junit = read("junit");
    assert!(!junit.contains("<b>") && !junit.contains("]]>"), "{junit}");
    let markdown = read("markdown");
    assert_eq!(markdown.lines().count(), 5, "{markdown}");
    assert!(markdown.contains("#[debug]x ]]> <b>\"& `code` \\| @me"), "within code: {markdown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_by_itself_is_in_every_format() {
    let scene = Scene::new().await;
    for format in ALL {
        let said = scene.run(&["check", "--image", "REGISTRY/shop/web:9", "-o", format]).await;
        assert_eq!((said.code, &*said.err), (1, ""), "{format}");
        assert!(said.out.contains("REGISTRY/shop/web:9"), "{format}: {}", said.out);
        if *format == "sarif" {
            let report = json(&said.out);
            is_valid_sarif(&report);
            let place = &report["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            assert!(uri.ends_with("/shop/web%3A9"), "{uri}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_check_is_an_empty_report_in_every_format() {
    let scene = Scene::new().await;
    let empty = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
    for format in ALL {
        let said = scene.run_with(&["check", "-f", "-", "-o", format], empty).await;
        assert_eq!(said.code, 0, "{format}: {said:?}");
        assert!(!said.out.is_empty(), "{format}");
        if *format == "sarif" {
            is_valid_sarif(&json(&said.out));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_check_fails_on_is_an_error_and_what_it_lets_pass_is_none() {
    let scene = scene().await;
    for (on, levels) in [
        ("deny", ["warning", "note"]),
        ("fails", ["error", "note"]),
        ("cannot-tell", ["error", "error"]),
    ] {
        let said = check(&scene, &["-o", "sarif", "--fail-on", on]).await;
        let report = json(&said.out);
        let results = report["runs"][0]["results"].as_array().unwrap();
        let found: Vec<_> =
            results.iter().map(|result| result["level"].as_str().unwrap()).collect();
        assert_eq!(found, levels, "{on}");
    }
}
