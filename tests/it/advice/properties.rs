//! Over many generated registries and histories: nothing is suggested that the registry would not
//! serve with the pod's credentials, and nothing comes to light that asker and pod could not see.

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use pullgate::advice::AdviceKind;
use pullgate::builds::{BuildJob, BuildKind, BuildState};
use pullgate::history::{KnownTag, RegistryService, ServiceState};
use pullgate::image::ImageReference;
use pullgate::pull::{ErrorCode, NetworkFault, Outcome};
use pullgate::review::Review;

use super::known;
use crate::review::fakes::{World, exists, missing, secret};
use crate::review::{deployment, run_as};

const CASES: u64 = 5_000;
const HOST: &str = "reg.example.com";
const REPOSITORIES: &[&str] = &["app", "team/app", "team/v2/app", "other/app"];
const TAGS: &[&str] = &[
    "1.0.0",
    "v1.0.0",
    "1.0.1",
    "1.0.1-alpine",
    "1.1.0",
    "2.0.0-rc1",
    "latest",
    "lastest",
    "Latest",
    "stable",
    "2024-01-15",
    "1.0",
];
const SECRETS: &[&str] = &["", "mine", "theirs", "unused"];

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.roll(list.len())]
    }
}

struct Scene {
    world: World,
    image: String,
    /// The secrets that the pod names.
    named: Vec<&'static str>,
    /// Who asks.
    user: &'static str,
}

/// A namespace of others, and the names of what is in it.
const HIDDEN: &str = "hidden-ns";
const HIDDEN_NAMES: &[&str] = &[HIDDEN, "hidden-job", "hidden-service"];
/// Its output is read by others.
const ACCOUNT: &str = "system:serviceaccount:gitops:controller";

fn failure(dice: &mut Dice) -> Outcome {
    match dice.roll(6) {
        0..=2 => missing(),
        3 if dice.one_in(2) => Outcome::Network(NetworkFault::Refused),
        3 => Outcome::Unauthorized,
        4 => Outcome::RepositoryMissing { code: Some(ErrorCode::NameUnknown) },
        _ => Outcome::Throttled { retry_after: None },
    }
}

fn scene(dice: &mut Dice) -> Scene {
    let mut world = World::enforcing();
    for repository in REPOSITORIES {
        for secret in SECRETS {
            let lets_in = !dice.one_in(3);
            let mut listed: Vec<Box<str>> = Vec::new();
            for tag in TAGS {
                let there = lets_in && dice.one_in(2);
                let outcome = if there {
                    exists()
                } else if lets_in {
                    failure(dice)
                } else {
                    Outcome::Unauthorized
                };
                let image = format!("{HOST}/{repository}:{tag}");
                world = world.answer(&image, secret, outcome);
                // Registries list what is gone, and leave out what is there.
                if there != dice.one_in(8) {
                    listed.push((*tag).into());
                }
            }
            if lets_in {
                world.listed.insert((format!("{HOST}/{repository}"), (*secret).to_owned()), listed);
            }
        }
    }
    for name in &SECRETS[1..] {
        let host = if dice.one_in(5) { "elsewhere.example.com" } else { HOST };
        world = world.secret(secret(name, host, name));
    }
    let named = match dice.roll(3) {
        0 => Vec::new(),
        1 => vec!["mine"],
        _ => vec!["mine", "gone"],
    };
    world.account.pull_secrets = named.iter().map(|name| (*name).into()).collect();
    world.secrets_in_use = vec!["theirs".into()];
    world.may_list = !dice.one_in(3);
    world.only_own = dice.one_in(2);
    let history = |dice: &mut Dice, repository: &str| -> Vec<KnownTag> {
        let mut tags = Vec::new();
        for tag in TAGS {
            if dice.one_in(4) {
                tags.push(known(&format!("{HOST}/{repository}:{tag}"), dice.one_in(2)));
            }
        }
        tags
    };
    let repository = dice.pick(REPOSITORIES);
    world.known_tags = history(dice, repository);
    for other in REPOSITORIES.iter().filter(|other| **other != repository) {
        let more = history(dice, other);
        world.namesakes.extend(more.into_iter().map(|tag| KnownTag { in_namespace: false, ..tag }));
    }
    // What is below this path is the team's own.
    world.beside = vec![("team/web".into(), true)];
    neighbours(dice, &mut world);
    let image = format!("{HOST}/{repository}:{}", dice.pick(TAGS));
    let user = if dice.one_in(3) { ACCOUNT } else { "ann" };
    Scene { world, image, named, user }
}

/// Jobs and Services in the object's own namespace and in one of others.
fn neighbours(dice: &mut Dice, world: &mut World) {
    let states = [
        BuildState::NeverRun { suspended: true },
        BuildState::Failed { at: None, too_long: false },
        BuildState::Running { since: None, failed: 1 },
        BuildState::Completed { at: None },
    ];
    let places = [(HIDDEN, "hidden-job"), ("shop", "own-job")];
    for (namespace, name) in places {
        if dice.one_in(2) {
            continue;
        }
        let (kind, state) = (BuildKind::Job, states[dice.roll(states.len())]);
        let (namespace, name) = (namespace.into(), name.into());
        world.builds.push(BuildJob { kind, namespace, name, pushes: true, state, rerun_as: None });
    }
    let places = [(HIDDEN, "hidden-service"), ("shop", "own-service")];
    let (namespace, name) = places[dice.roll(2)];
    let (namespace, name, state) = (namespace.into(), name.into(), ServiceState::NoPods);
    world.service = dice.one_in(2).then_some(RegistryService { namespace, name, state });
}

impl Scene {
    /// Whether the registry serves this to the pod as it is, or with one more secret.
    fn serves(&self, image: &str, more: Option<&str>) -> bool {
        let matching = |name: &str| {
            self.world.secrets.get(name).is_some_and(|secret| {
                let keyring =
                    pullgate::credential::Keyring::from_secrets(std::slice::from_ref(secret))
                        .unwrap();
                !keyring.lookup(&ImageReference::parse(image).unwrap()).is_empty()
            })
        };
        let mut with: Vec<&str> =
            self.named.iter().copied().chain(more).filter(|name| matching(name)).collect();
        if with.is_empty() {
            with.push("");
        }
        with.iter().any(|secret| {
            let key = (image.to_owned(), (*secret).to_owned());
            matches!(self.world.registry.get(&key), Some(Outcome::Exists(_)))
        })
    }

    /// Whether the asker may be shown every namespace.
    fn sees_all(&self) -> bool {
        self.user != ACCOUNT && self.world.may_list && !self.world.only_own
    }

    /// Whether the asker may be shown the object's own namespace.
    fn sees_own(&self) -> bool {
        self.world.may_list
    }

    /// Whether a tag is another spelling of what was written, or listed to the pod's own
    /// credentials.
    fn may_find(&self, tag: &str) -> bool {
        let wanted = ImageReference::parse(&self.image).unwrap();
        let spelled = pullgate::advice::spellings(wanted.tag().unwrap());
        let listed = self.named.iter().copied().chain([""]).any(|secret| {
            let key = (wanted.name().to_owned(), secret.to_owned());
            self.world.listed.get(&key).is_some_and(|tags| tags.iter().any(|one| **one == *tag))
        });
        listed || spelled.iter().any(|(one, _)| **one == *tag)
    }

    /// Tags and repositories that the asker may see in the cluster.
    fn visible(&self) -> BTreeSet<String> {
        let cluster = self.sees_all();
        let known = self.world.known_tags.iter().chain(&self.world.namesakes);
        known
            .filter(|tag| cluster || (self.sees_own() && tag.in_namespace))
            .map(|tag| tag.reference.canonical())
            .collect()
    }

    fn check(&self, review: &Review, counts: &mut BTreeMap<&'static str, u32>) {
        let wanted = ImageReference::parse(&self.image).unwrap();
        for advice in &review.images[0].advice {
            *counts.entry(advice.kind.as_str()).or_default() += 1;
            let value = &*advice.value;
            match advice.kind {
                AdviceKind::KnownGoodTag | AdviceKind::NearestTag => {
                    let image = wanted.with_tag(value).unwrap().canonical();
                    assert!(self.serves(&image, None), "{image} is not served: {advice:?}");
                    let seen = match advice.kind {
                        AdviceKind::NearestTag => self.may_find(value),
                        _ => self.visible().contains(&image),
                    };
                    assert!(seen, "{image} comes to light");
                }
                AdviceKind::NearestRepository | AdviceKind::OtherSource => {
                    assert!(self.serves(value, None), "{value} is not served");
                    assert!(self.visible().contains(value), "{value} comes to light");
                    assert!(value.contains("/team/"), "{value} is another team's");
                }
                AdviceKind::PullSecret => {
                    assert!(self.serves(&self.image, Some(value)), "{value} does not work");
                    assert!(self.sees_own() && value == "theirs", "{value} comes to light");
                }
                AdviceKind::FixSecret => assert!(self.named.contains(&value), "{value}"),
                AdviceKind::BuildJob | AdviceKind::RegistryService => {
                    let own = value.starts_with("shop/");
                    let seen = if own { self.sees_own() } else { self.sees_all() };
                    assert!(seen, "{value} comes to light");
                }
                AdviceKind::Throttled => {}
                other => panic!("{other:?} was not expected here"),
            }
        }
        let finding = review.finding(&review.images[0]);
        for text in [finding.line(), finding.message()] {
            assert!(!text.contains("unused"), "{text}");
            assert!(self.sees_own() || !text.contains("theirs"), "{text}");
            for hidden in HIDDEN_NAMES {
                assert!(self.sees_all() || !text.contains(hidden), "{text}");
            }
            for repository in REPOSITORIES {
                let image = format!("{HOST}/{repository}:");
                let seen = self.image.starts_with(&image)
                    || self.visible().iter().any(|visible| visible.starts_with(&image));
                assert!(seen || !text.contains(&image), "{text}");
            }
        }
        assert!(finding.line().chars().count() <= 256);
    }
}

#[test]
fn nothing_unproven_is_suggested_and_nothing_hidden_comes_to_light() {
    let mut counts = BTreeMap::new();
    for case in 0..CASES {
        let scene = scene(&mut Dice(case));
        let review = block_on(run_as(&scene.world, deployment(&scene.image), "", scene.user, None));
        scene.check(&review, &mut counts);
    }
    // The generator reaches every kind of advice that it is about.
    for kind in [
        "known_good_tag",
        "nearest_tag",
        "nearest_repository",
        "pull_secret",
        "fix_secret",
        "build_job",
        "registry_service",
    ] {
        assert!(counts.get(kind).is_some_and(|count| *count > 20), "{kind}: {counts:?}");
    }
}
