//! Private images where the pull secret is in the cluster and the runner has a login of its own.

use super::credentials::{own_login, with_secrets};
use super::run::{Said, Scene, deployment, words};

const THERE: &str = "REGISTRY/team/app:1.0";
const MISSING: &str = "REGISTRY/team/app:2.0";

fn last_line(said: &Said) -> &str {
    said.out.lines().last().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_the_runners_login_proves_missing_fails() {
    let scene = Scene::new()
        .await
        .file("app.yaml", &deployment("app", MISSING))
        .file("named.yaml", &with_secrets("{name: elsewhere}").replace("app:1.0", "app:2.0"));
    // Nobody has a login: it cannot be told, and the report says how to give one.
    let said = scene.run(&["check", "-f", "app.yaml"]).await;
    assert_eq!(
        (said.code, last_line(&said)),
        (0, "1 image in 1 object: 0 work, 0 fail, 1 cannot tell")
    );
    let report = words(&said.out);
    assert!(
        report.contains("give it with --pull-secret-file FILE, or the cluster with --kubeconfig")
    );
    let said = scene.run(&["check", "-f", "named.yaml"]).await;
    assert!(words(&said.out).contains("--pull-secret-file elsewhere=FILE"), "{said:?}");

    let scene = scene.file("docker/config.json", &own_login());
    for file in ["app.yaml", "named.yaml"] {
        let said = scene.run(&["check", "-f", file]).await;
        assert_eq!(said.code, 1, "{said:?}");
        assert!(words(&said.out).contains("tag not found"), "{said:?}");
        let said = scene.run(&["check", "-f", file, "--login", "secrets"]).await;
        assert_eq!(said.code, 0, "the login is not asked: {said:?}");
        assert!(last_line(&said).contains("1 cannot tell"), "{said:?}");
    }
}

/// The registry hides this repository from everybody, so that its 404 proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_the_runner_may_not_see_stays_unclear() {
    let scene = Scene::new()
        .await
        .file("docker/config.json", &own_login())
        .file("app.yaml", &deployment("app", "REGISTRY/hidden/app:2.0"));
    let said = scene.run(&["check", "-f", "app.yaml"]).await;
    assert_eq!(
        (said.code, last_line(&said)),
        (0, "1 image in 1 object: 0 work, 0 fail, 1 cannot tell")
    );
    let said = scene.run(&["check", "-f", "app.yaml", "--login", "runner"]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_runners_login_alone() {
    let both = [deployment("app", THERE), with_secrets("{name: elsewhere}")].join("---\n");
    let scene = Scene::new().await.file("docker/config.json", &own_login()).file("app.yaml", &both);
    let check = ["check", "-f", "app.yaml", "--login", "runner"];
    let said = scene.run(&check).await;
    assert_eq!(
        (said.code, &*said.out),
        (0, "2 images in 2 objects: 2 work, 0 fail, 0 cannot tell\n")
    );
    let said = scene.run(&[&check[..], &["-o", "json"]].concat()).await;
    assert!(said.out.contains("\"pulledWith\": \"own docker config\""), "{said:?}");
    let missing = with_secrets("{name: elsewhere}").replace("app:1.0", "app:2.0");
    let scene = scene.file("app.yaml", &missing);
    assert_eq!(scene.run(&check).await.code, 1);
    // Public images are public.
    let scene = scene.file("app.yaml", &deployment("web", "REGISTRY/shop/web:1.0"));
    let scene = scene.file("docker/config.json", "{}");
    assert_eq!(scene.run(&check).await.code, 0);
    let scene = scene.file("app.yaml", &deployment("app", THERE));
    let said = scene.run(&check).await;
    assert!(words(&said.out).contains("you have no login for this registry"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_secret_may_be_given_as_a_file() {
    let named = with_secrets("{name: elsewhere}");
    let scene = Scene::new()
        .await
        .file("login.json", &own_login())
        .file("empty.json", "{\"auths\": {}, \"credsStore\": \"desktop\"}")
        .file("broken.json", "{\"auths\": [")
        .file("app.yaml", &deployment("app", THERE))
        .file("named.yaml", &named);
    let all = ["check", "-f", "app.yaml", "-f", "named.yaml", "--fail-on=cannot-tell"];
    let run = async |flags: &[&str]| scene.run(&[&all[..], flags].concat()).await;
    let said = run(&["--pull-secret-file", "login.json"]).await;
    assert_eq!(
        (said.code, &*said.out),
        (0, "2 images in 2 objects: 2 work, 0 fail, 0 cannot tell\n")
    );
    for (flag, unclear) in [
        ("elsewhere=login.json", 1),
        ("shop/elsewhere=login.json", 1),
        ("x/elsewhere=login.json", 2),
    ] {
        let said = run(&["--pull-secret-file", flag]).await;
        assert!(last_line(&said).contains(&format!("{unclear} cannot tell")), "{flag}: {said:?}");
    }
    let said = run(&["--pull-secret-file", "empty.json"]).await;
    assert!(said.err.contains("empty.json holds no login"), "{said:?}");
    for (file, words) in [
        ("broken.json", "broken.json is no docker configuration that nodes could use"),
        ("none.json", "failed to read the pull secret none.json"),
    ] {
        let said = run(&["--pull-secret-file", file]).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    }
    // What is in the files wins over what stands in for all.
    let scene = scene.file("secret.yaml", &super::run::pull_secret("elsewhere", "wrong"));
    let wrong = ["check", "-f", "named.yaml", "-f", "secret.yaml", "--pull-secret-file"];
    assert_eq!(scene.run(&[&wrong[..], &["login.json"]].concat()).await.code, 1);
    assert_eq!(scene.run(&[&wrong[..], &["elsewhere=login.json"]].concat()).await.code, 0);
}

/// The pair is what a person would have to list; at admission no word of a registry is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_on_another_host_is_named_to_whoever_runs_check() {
    let scene = Scene::new().await;
    let port = scene.registry.port();
    let image = format!("localhost:{port}/elsewhere/app:1");
    let said = scene.run(&["check", "--image", &image]).await;
    let told = words(&said.out);
    assert!(told.contains("it wants credentials on sso.example.net"), "{said:?}");
    assert!(told.contains("--token-realm localhost=sso.example.net"), "{said:?}");
}
