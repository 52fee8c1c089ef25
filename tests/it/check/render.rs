//! `--render`: charts and kustomizations, rendered by programs on the PATH.

use std::os::unix::fs::PermissionsExt as _;

use super::run::{Scene, deployment, words};

/// A tree with a chart, a base and an overlay of it, and manifests.
async fn scene() -> Scene {
    Scene::new()
        .await
        .file("k8s/plain.yaml", &deployment("plain", "REGISTRY/shop/web:1.0"))
        .file("k8s/app/Chart.yaml", "name: app\n")
        .file("k8s/base/kustomization.yaml", "resources: [d.yaml]\n")
        .file("k8s/prod/kustomization.yaml", "resources: [../base]\n")
        .file("chart.txt", &deployment("charted", "REGISTRY/shop/web:8"))
        .file("prod.txt", &deployment("overlaid", "REGISTRY/shop/web:9"))
}

fn program(scene: Scene, name: &str, script: &str) -> Scene {
    let scene = scene.file(name, &format!("#!/bin/sh\n{script}\n"));
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(scene.path().join(name), mode).unwrap();
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_and_kustomizations_are_rendered_where_the_programs_are() {
    let scene = scene().await;
    let passed_over = scene.run(&["check", "-f", "k8s"]).await;
    assert!(passed_over.err.contains("helm template k8s/app | pullgate check"), "{passed_over:?}");

    let scene = program(scene, "helm", "[ \"$*\" = \"template ./k8s/app\" ] && cat chart.txt");
    let scene = program(scene, "kustomize", "[ \"$*\" = \"build ./k8s/prod\" ] && cat prod.txt");
    let said = scene.run(&["check", "-f", "k8s", "--render"]).await;
    assert_eq!((said.code, &*said.err), (1, ""), "{said:?}");
    let report = words(&said.out);
    for part in [
        "Deployment shop/charted (k8s/app/Chart.yaml) FAILS container web tag_not_found",
        "Deployment shop/overlaid (k8s/prod/kustomization.yaml) FAILS container web tag_not_found",
        "3 images in 3 objects: 1 works, 2 fail",
    ] {
        assert!(report.contains(part), "{part}: {}", said.out);
    }
    // One that is named by itself, too; without the other program kubectl does.
    std::fs::remove_file(scene.path().join("kustomize")).unwrap();
    let scene = program(scene, "kubectl", "[ \"$*\" = \"kustomize ./k8s/prod\" ] && cat prod.txt");
    let said = scene.run(&["check", "-f", "k8s/prod", "--render"]).await;
    assert_eq!((said.code, &*said.err), (1, ""), "{said:?}");
    assert!(said.out.contains("shop/overlaid"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rendered_hides_nothing_else() {
    let scene =
        program(scene().await, "helm", "echo 'found in Chart.yaml, but missing' >&2; exit 1");
    let scene = program(scene, "kustomize", "printf 'kind: [\\n'");
    let said = scene.run(&["check", "-f", "k8s", "--render"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.out.contains("1 works, 0 fail, 0 cannot tell; 2 inputs could not be read"),
        "{said:?}"
    );
    for part in [
        "k8s/app/Chart.yaml: helm template failed: found in Chart.yaml, but missing",
        "k8s/prod/kustomization.yaml: of what was rendered, line 1: this is not YAML",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
}
