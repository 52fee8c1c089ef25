//! The same questions to registries that we did not write: distribution of both major versions
//! and go-containerregistry's.

use pullgate::image::{ImageReference, Platform};
use pullgate::pull::{Content, Detail, MediaKind, Outcome};
use pullgate::registry::{RegistryClient, RegistryOptions};
use pullgate::review::ManifestSource as _;
use rstest::rstest;

use super::scripted::{credential, endpoint, look, request, soon, tags_of};
use crate::cluster::images::Image;
use crate::cluster::registry::{Access, OTHER, PULLER, Registry};
use crate::cluster::{programs, skipped};

/// Starts this program as a registry, or says why not.
fn start(program: &str, access: Access) -> Option<Registry> {
    let path = match programs() {
        Ok(folder) => folder.join(program),
        Err(reason) => {
            skipped(&reason);
            return None;
        }
    };
    if !path.is_file() {
        skipped(&format!("there is no {program}; tests/cluster/build.sh builds it"));
        return None;
    }
    Some(Registry::start_program(path, access).unwrap())
}

/// A client, and a runtime of its own for it.
fn with_client<T>(
    registry: &Registry,
    ask: impl AsyncFnOnce(&RegistryClient, &dyn Fn(&str) -> ImageReference) -> T,
) -> T {
    let host = registry.host();
    let mut options = RegistryOptions { contact_loopback: true, ..RegistryOptions::default() };
    options.hosts.insert(host.clone(), vec![endpoint(&host)]);
    let reference = move |rest: &str| ImageReference::parse(&format!("{host}/{rest}")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = RegistryClient::new(options).unwrap();
        ask(&client, &reference).await
    })
}

#[rstest]
#[case::distribution_3("registry")]
#[case::distribution_2("registry-v2")]
#[case::go_containerregistry("registry-ggcr")]
fn an_open_registry(#[case] program: &str) {
    let Some(registry) = start(program, Access::Anonymous) else { return };
    let index = Image::index(&["amd64", "arm64"], "1");
    registry.push("shop/app", &["1.0.0", "1.0"], &index);
    registry.push("shop/app", &["lone"], &Image::single("arm64", "2"));
    with_client(&registry, async |client, reference| {
        let ask = async |rest: &str, detail| {
            let asked = request(&reference(rest), None, detail);
            client.look_up(asked, soon()).await.outcome
        };
        let Outcome::Exists(found) = ask("shop/app:1.0", Detail::Platforms).await else {
            panic!("the index is there")
        };
        assert_eq!(found.media, MediaKind::Index);
        assert_eq!(found.digest.as_ref().unwrap().as_str(), index.digest());
        let arm64 = Platform::new("linux", "arm64").with_variant("v8");
        let platforms = [Some(Platform::new("linux", "amd64")), Some(arm64)];
        assert_eq!(found.content, Content::Platforms(platforms.into()));

        let Outcome::Exists(found) = ask("shop/app:lone", Detail::Config).await else {
            panic!("the lone manifest is there")
        };
        assert_eq!(found.media, MediaKind::Manifest);
        let Content::Config(platform, bytes) = &found.content else { panic!("{found:?}") };
        assert_eq!(*platform, Platform::new("linux", "arm64"));
        assert!(bytes.is_some(), "{found:?}");

        let by_digest = format!("shop/app@{}", index.digest());
        assert!(matches!(ask(&by_digest, Detail::Presence).await, Outcome::Exists(_)));

        let missing = ask("shop/app:2.0", Detail::Presence).await;
        assert!(matches!(missing, Outcome::TagMissing { code: Some(_) }), "{missing:?}");
        let nowhere = ask("shop/nothing:1", Detail::Presence).await;
        assert!(
            matches!(
                nowhere,
                Outcome::TagMissing { code: Some(_) }
                    | Outcome::RepositoryMissing { code: Some(_) }
            ),
            "{nowhere:?}"
        );
        let tags =
            client.list(tags_of(&reference("shop/app:1.0"), None, "shop"), soon()).await.unwrap();
        let mut tags = tags.tags.clone();
        tags.retain(|tag| !tag.starts_with("sha256"));
        tags.sort();
        assert_eq!(tags, ["1.0", "1.0.0", "lone"].map(Box::from));
    });
}

#[rstest]
#[case::distribution_3("registry")]
#[case::distribution_2("registry-v2")]
fn a_registry_with_passwords(#[case] program: &str) {
    let Some(registry) = start(program, Access::Basic) else { return };
    registry.push("shop/app", &["1"], &Image::single("amd64", "1"));
    with_client(&registry, async |client, reference| {
        let app = reference("shop/app:1");
        let right = credential(PULLER.0, PULLER.1);
        let other = credential(OTHER.0, OTHER.1);
        let wrong = credential(PULLER.0, "wrong");
        for _ in 0..2 {
            for known in [&right, &other] {
                let lookup = look(client, &app, Some(known)).await;
                assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
            }
            assert_eq!(look(client, &app, Some(&wrong)).await.outcome, Outcome::Unauthorized);
            assert_eq!(look(client, &app, None).await.outcome, Outcome::Unauthorized);
        }
        let missing = look(client, &reference("shop/app:2"), Some(&right)).await.outcome;
        assert!(matches!(missing, Outcome::TagMissing { code: Some(_) }), "{missing:?}");
    });
}

#[rstest]
#[case::distribution_3("registry")]
#[case::distribution_2("registry-v2")]
fn a_registry_with_tokens(#[case] program: &str) {
    let Some(registry) = start(program, Access::Token) else { return };
    registry.push("shop/app", &["1"], &Image::single("amd64", "1"));
    registry.push("public/app", &["1"], &Image::single("amd64", "1"));
    with_client(&registry, async |client, reference| {
        let app = reference("shop/app:1");
        let right = credential(PULLER.0, PULLER.1);
        let wrong = credential(PULLER.0, "wrong");
        let lookup = look(client, &app, Some(&right)).await;
        assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
        assert_eq!(look(client, &app, None).await.outcome, Outcome::MissingOrDenied);
        let refused = look(client, &app, Some(&wrong)).await.outcome;
        assert!(
            matches!(refused, Outcome::Unauthorized | Outcome::RefusedByStranger),
            "{refused:?}"
        );
        let public = look(client, &reference("public/app:1"), None).await;
        assert!(matches!(public.outcome, Outcome::Exists(_)), "{public:?}");
    });
}
