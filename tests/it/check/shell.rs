//! Completions, man pages, and the plugin of kubectl.

use super::run::{Scene, deployment};

#[tokio::test(flavor = "multi_thread")]
async fn completions_are_scripts_of_their_shells() {
    let scene = Scene::new().await;
    for (shell, words) in [
        ("bash", "complete -F _pullgate"),
        ("zsh", "#compdef pullgate"),
        ("fish", "complete -c pullgate"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let said = scene.run(&["completions", shell]).await;
        assert_eq!((said.code, &*said.err), (0, ""), "{shell}");
        assert!(
            said.out.contains(words) && said.out.contains("images-from"),
            "{shell}: {}",
            said.out
        );
    }
    assert_eq!(scene.run(&["completions", "tcsh"]).await.code, 2);
    // Bash takes it, and knows the commands.
    let script = format!(
        "source <('{}' completions bash); COMP_WORDS=(pullgate che) COMP_CWORD=1; \
         _pullgate pullgate che pullgate; echo \"${{COMPREPLY[*]}}\"",
        env!("CARGO_BIN_EXE_pullgate")
    );
    let output = tokio::process::Command::new("bash").args(["-c", &script]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "check", "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn man_pages_for_the_program_and_its_commands() {
    let scene = Scene::new().await;
    let said = scene.run(&["man"]).await;
    assert!(said.out.contains(".TH pullgate 1"), "{}", said.out);
    let said = scene.run(&["man", "check"]).await;
    assert!(
        said.out.contains(".TH pullgate-check 1") && said.out.contains("Exit codes"),
        "{}",
        said.out
    );
    let said = scene.run(&["man", "none"]).await;
    assert_eq!((said.code, said.err.contains("no command none")), (2, true), "{said:?}");
    std::fs::create_dir(scene.path().join("pages")).unwrap();
    assert_eq!(scene.run(&["man", "--directory", "pages"]).await.code, 0);
    for page in ["pullgate", "pullgate-check", "pullgate-serve", "pullgate-explain"] {
        assert!(scene.path().join(format!("pages/{page}.1")).is_file(), "{page}");
    }
    assert!(!scene.path().join("pages/pullgate-help.1").exists());
    assert_eq!(scene.run(&["man", "--directory", "none"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_plugin_it_is_a_command_of_kubectl() {
    let scene = Scene::new().await.file("a.yaml", &deployment("a", "REGISTRY/shop/web:9"));
    let plugin = scene.path().join("kubectl-pullgate");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pullgate"), &plugin).unwrap();
    let run = async |arguments: &[&str]| {
        let command = tokio::process::Command::new(&plugin)
            .args(arguments)
            .current_dir(scene.path())
            .env("DOCKER_CONFIG", scene.path())
            .env("PULLGATE_ALLOW_ADDRESS", "127.0.0.0/8")
            .output()
            .await
            .unwrap();
        (command.status.code(), String::from_utf8_lossy(&command.stdout).into_owned())
    };
    let (code, help) = run(&["check", "--help"]).await;
    assert_eq!(code, Some(0));
    assert!(help.contains("Usage: kubectl pullgate check "), "{help}");
    let (code, report) = run(&["check", "-f", "a.yaml"]).await;
    assert_eq!(code, Some(1));
    assert!(report.contains("tag_not_found"), "{report}");
}
