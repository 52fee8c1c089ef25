//! The page to look at, in a real browser: of a running installation, with the rights that the chart
//! gives it and tokens of the API server, and of `explain --web`.

use std::process::Command;

use serde_json::{Value, json};

use super::deployed::{Deployed, Replica, eventually};
use crate::browser::{Browser, Mode};
use crate::cluster::control_plane::ADMIN;
use crate::cluster::images::Image;
use crate::cluster::nodes::{create_node, play_failing, play_running, wait_for_pods};
use crate::cluster::process::{self, Process};
use crate::cluster::registry::{Access, Registry};
use crate::cluster::{pullgate, wait_until};

/// What the pages are about: a shop of which one image is missing and another was deleted after it
/// ran, and a bank that the shop's people may not see.
struct Town {
    deployed: Deployed,
    replica: Replica,
    open: Registry,
}

fn town() -> Option<Town> {
    let values = [
        "audit.seconds=1",
        "web.enabled=true",
        "policy.defaultMode=warn",
        "policy.registries.skip={127.0.0.1:9}",
    ];
    let deployed = Deployed::start(&values)?;
    let open = Registry::start(deployed.cluster.programs(), Access::Anonymous).unwrap();
    for tag in ["1", "2"] {
        open.push("shop/app", &[tag], &Image::single("amd64", tag));
    }
    open.push("bank/vault", &["7"], &Image::single("amd64", "7"));
    create_node(&deployed.cluster, "n1", "amd64", &[], &[]);
    for (namespace, account) in [("shop", "teller"), ("bank", "clerk")] {
        deployed.cluster.namespace_called(namespace, &[]);
        deployed.kubectl.run(&["create", "serviceaccount", account, "-n", namespace]).ok().unwrap();
    }
    let of = |namespace: &str, account: &str| format!("--serviceaccount={namespace}:{account}");
    let (teller, clerk) = (of("shop", "teller"), of("bank", "clerk"));
    let own = ["create", "rolebinding", "teller", "-n", "shop", "--clusterrole=view", &teller];
    deployed.kubectl.run(&own).ok().unwrap();
    let all = ["create", "clusterrolebinding", "clerk", "--clusterrole=view", &clerk];
    deployed.kubectl.run(&all).ok().unwrap();
    let town = Town {
        replica: deployed.replica("pullgate-0", &["--allow-address=127.0.0.0/8"]),
        deployed,
        open,
    };
    town.live();
    Some(town)
}

impl Town {
    fn live(&self) {
        let cluster = &self.deployed.cluster;
        let digest = format!("sha256:{}", "a".repeat(64));
        for (namespace, name, image, runs) in [
            ("shop", "web", "shop/app:1", true),
            ("shop", "api", "shop/app:2", true),
            ("shop", "cart", "shop/app:3", false),
            ("bank", "vault", "bank/vault:7", true),
            ("bank", "teller", "bank/vault:8", false),
        ] {
            let image = self.open.image(image);
            self.deployed.kubectl.create(&deployment(namespace, name, &image));
            let pod = wait_for_pods(cluster, namespace, &format!("app={name}"), 1).remove(0);
            if name == "api" {
                let then = Image::single("amd64", "2");
                play_running(cluster, namespace, &pod, "n1", then.digest());
            } else if runs {
                play_running(cluster, namespace, &pod, "n1", &digest);
            } else {
                let said = format!("failed to pull and unpack image \"{image}\": not found");
                play_failing(cluster, namespace, &pod, "n1", ("ErrImagePull", &said));
            }
        }
        let pullable = |count: &str| {
            let (_, page) = self.replica.admin_page("metrics").unwrap();
            let mut lines = page.lines().filter(|one| one.starts_with("pullgate_image_pullable"));
            lines.any(|line| line.ends_with(count))
        };
        eventually("the look at all images", || pullable(r#"cause="none"} 3"#));
        // What the policy leaves alone is not looked at, and not waited for.
        self.deployed.kubectl.create(&deployment("bank", "left", "127.0.0.1:9/a:1"));
        let pod = wait_for_pods(cluster, "bank", "app=left", 1).remove(0);
        play_running(cluster, "bank", &pod, "n1", &digest);
        self.open.untag("shop/app", "1");
        eventually("the deleted tag", || pullable(r#"cause="tag_not_found"} 1"#));
        self.open.push("shop/app", &["2"], &Image::single("amd64", "2 again"));
        eventually("the tag that moved", || {
            let (_, page) = self.replica.admin_page("metrics").unwrap();
            let mut lines = page.lines().filter(|one| one.starts_with("pullgate_image_drift"));
            lines.any(|line| line.ends_with(r#"against="registry"} 1"#))
        });
    }

    fn token(&self, namespace: &str, account: &str) -> String {
        let create = ["create", "token", account, "-n", namespace];
        self.deployed.kubectl.run(&create).ok().unwrap().trim().to_owned()
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.replica.admin)
    }
}

fn deployment(namespace: &str, name: &str, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": image}]}}}})
}

/// The structure that a screen reader needs, and contrast as WCAG 2 asks for normal text.
const FAULTS: &str = r"
const faults = [];
if (!document.documentElement.lang) faults.push('no language');
if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
if (document.querySelectorAll('main').length !== 1) faults.push('not one main');
let level = 0;
for (const heading of document.querySelectorAll('h1,h2,h3,h4')) {
  const own = Number(heading.tagName[1]);
  if (own > level + 1) faults.push('heading skips a level: ' + heading.textContent);
  level = own;
}
for (const field of document.querySelectorAll('input'))
  if (!field.labels.length) faults.push('field without a label: ' + field.id);
for (const cell of document.querySelectorAll('th'))
  if (!cell.scope) faults.push('th without scope: ' + cell.textContent);
const ids = [...document.querySelectorAll('[id]')].map(one => one.id);
if (new Set(ids).size !== ids.length) faults.push('an id twice');
if (document.querySelector('script')) faults.push('a script');
if (document.documentElement.scrollWidth > window.innerWidth) faults.push('wider than the window');
const light = text => {
  const [r, g, b] = text.match(/[\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = one => {
  for (; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if (colour !== 'rgba(0, 0, 0, 0)') return colour;
  }
  return 'rgb(255, 255, 255)';
};
for (const one of document.querySelectorAll('body *')) {
  if (!one.textContent.trim() || one.children.length) continue;
  const [a, b] = [light(getComputedStyle(one).color), light(behind(one))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) faults.push('contrast: ' + one.textContent);
}
return faults;
";

fn faultless(browser: &Browser) {
    let faults = browser.ask(FAULTS);
    assert_eq!(faults, json!([]), "{}", browser.place());
}

/// Keeps a picture for the documentation, where that is asked for.
fn keep(browser: &Browser, name: &str) {
    if std::env::var_os("PULLGATE_BLESS").is_some() {
        let path = super::root().join(format!("docs/pictures/page-{name}.png"));
        std::fs::write(path, browser.picture()).unwrap();
    }
}

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

fn who_may_see_all(town: &Town, browser: &Browser) {
    let (gone, missing) = (town.open.image("shop/app:1"), town.open.image("shop/app:3"));
    // Nothing is told before somebody has signed in, and nobody signs in with what is no token.
    for path in ["/", "/images?words=app", &format!("/image?name={gone}"), "/namespace"] {
        browser.go(&town.url(path));
        assert_eq!(browser.place(), "/sign-in");
        assert!(!browser.source().contains("shop"), "{path}");
    }
    faultless(browser);
    browser.enter("key", "nobody's");
    assert!(browser.text().contains("This is not accepted"), "{}", browser.text());
    faultless(browser);
    browser.enter("key", &town.token("bank", "clerk"));
    assert_eq!((browser.place().as_str(), browser.title().as_str()), ("/", "Overview · Pullgate"));
    let text = browser.text();
    for wanted in [
        "Signed in as system:serviceaccount:bank:clerk",
        &*town.open.host(),
        "some images fail",
        &missing,
        "deployment/cart in shop",
        "Looked at 3 images.",
        &gone,
        "deployment/web in shop",
        "What enforcement would have denied",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let moved = text.split("another digest for").nth(1).unwrap();
    let moved = moved.split("Pods that were refused").next().unwrap();
    assert!(moved.contains(&town.open.image("shop/app:2")), "{moved}");
    faultless(browser);
    keep(browser, "overview");

    // By keyboard alone: past the navigation at once, and on from there.
    browser.go(&town.url("/"));
    browser.ask("document.body.focus()");
    browser.key(TAB);
    assert_eq!(browser.ask("return document.activeElement.textContent"), "Skip to the content");
    browser.key(ENTER);
    browser.key(TAB);
    assert_eq!(browser.ask("return document.activeElement.textContent"), "Look again");

    browser.follow(&missing);
    let text = browser.text();
    for wanted in
        ["Cause", "Remedy", "deployment/cart in shop", "Other tags", "last good", "Who has it"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    faultless(browser);
    keep(browser, "image");
    browser.follow(&gone);
    assert!(browser.text().contains("as pods in shop pull it, since"), "{}", browser.text());
    browser.go(&town.url("/"));
    browser.follow("deployment/cart");
    assert!(browser.text().contains("deployment cart in shop"), "{}", browser.text());
    assert!(browser.text().contains(&missing), "{}", browser.text());
    faultless(browser);
    browser.go(&town.url("/"));
    browser.follow(&town.open.host());
    assert!(browser.text().contains("cannot get their image"), "{}", browser.text());
    faultless(browser);
    browser.enter("words", "VAULT 7");
    assert_eq!(browser.place(), "/images?words=VAULT+7");
    assert!(browser.text().contains(&town.open.image("bank/vault:7")), "{}", browser.text());
    faultless(browser);
    browser.enter("words", "<b>nothing</b> like it");
    assert!(browser.text().contains("No container has or wants one"), "{}", browser.text());
    assert!(browser.text().contains("<b>nothing</b> like it"), "it is shown as text");
    browser.go(&town.url("/image?name=a%20b"));
    assert!(browser.text().contains("This is not the name of an image"), "{}", browser.text());
    browser.go(&town.url("/nowhere"));
    assert!(browser.text().contains("There is no such page"), "{}", browser.text());
    browser.go(&town.url("/"));
    browser.press("Sign out");
    browser.go(&town.url("/"));
    assert_eq!(browser.place(), "/sign-in");
}

fn who_may_see_one_namespace(town: &Town, browser: &Browser) {
    browser.go(&town.url("/sign-in"));
    browser.enter("key", &town.token("shop", "teller"));
    assert_eq!(browser.place(), "/namespace");
    faultless(browser);
    browser.enter("namespace", "bank");
    assert!(browser.text().contains("You may not list the pods of namespace bank"));
    browser.enter("namespace", "shop");
    assert_eq!(browser.place(), "/");
    let text = browser.text();
    for wanted in ["Only what is in namespace shop", "Looked at 2 images.", "/cart in shop"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("What enforcement would have denied"), "{text}");
    let vault = town.open.image("bank/vault:8");
    for path in [
        "/".to_owned(),
        "/images".to_owned(),
        format!("/image?name={vault}"),
        format!("/registry?host={}", town.open.host()),
        "/workload?kind=Deployment&namespace=bank&name=teller".to_owned(),
    ] {
        browser.go(&town.url(&path));
        // What was asked for stands on the page, and nothing else of it.
        let source = browser.source().replace(&vault, "").replace("teller in bank", "");
        for hidden in ["vault", "in bank", "namespace bank", "clerk"] {
            assert!(!source.contains(hidden), "{path}: {hidden}: {source}");
        }
    }
    browser.go(&town.url("/workload?kind=Deployment&namespace=bank&name=no-such"));
    let unknown = browser.text().replace("no-such", "teller");
    browser.go(&town.url("/workload?kind=Deployment&namespace=bank&name=teller"));
    assert_eq!(browser.text(), unknown, "what is hidden is as what is not there");
}

#[test]
fn people_see_in_a_browser_what_they_may_list_and_no_more() {
    let Some(town) = town() else { return };
    let (status, page) = town.replica.admin_page("image?name=a").unwrap();
    assert!(status == 200 && page.contains("Sign in"), "{page}");
    let Some(browser) = Browser::open(Mode::Light) else { return };
    who_may_see_all(&town, &browser);
    who_may_see_one_namespace(&town, &browser);
    own_page_of_a_person(&town);
    assert!(!town.replica.process.output().contains("eyJ"), "a token was logged");
}

/// The same from a kubeconfig, in the dark, where the registry is asked as well.
fn own_page_of_a_person(town: &Town) {
    let folder = process::folder("web");
    let mut command = Command::new(pullgate::binary());
    command.args(["explain", "--web", "-n", "shop", "--kubeconfig"]);
    command.arg(town.deployed.cluster.kubeconfig(ADMIN));
    let mut program = Process::start("explain", &mut command, folder.path()).unwrap();
    let address = wait_until("the address", || {
        program.still_runs()?;
        let output = program.output();
        let found = output.lines().find_map(|line| line.split_once("look at "));
        Ok(found.map(|(_, url)| url.trim().to_owned()).ok_or(output.clone())?)
    })
    .unwrap();
    let base = address.split("/sign-in").next().unwrap();
    let Some(browser) = Browser::open(Mode::Dark) else { return };
    browser.go(base);
    assert_eq!(browser.place(), "/sign-in", "only with the key");
    browser.go(&format!("{base}/sign-in?key=wrong"));
    assert!(browser.text().contains("This is not accepted"), "{}", browser.text());
    browser.go(&address);
    assert_eq!(browser.place(), "/", "the key stays in no address");
    let missing = town.open.image("shop/app:3");
    assert!(browser.text().contains(&missing), "{}", browser.text());
    let back = browser.ask("return getComputedStyle(document.body).backgroundColor");
    assert_eq!(back, "rgb(18, 21, 26)", "it is dark");
    faultless(&browser);
    keep(&browser, "dark");
    // The deleted tag is found when it is looked for.
    let gone = town.open.image("shop/app:1");
    assert!(browser.text().contains("Each of the 4 images in use"), "{}", browser.text());
    browser.press("Check them now");
    eventually("the look", || {
        browser.go(base);
        browser.text().contains("Looked at 4 images.")
    });
    assert!(browser.text().contains(&gone), "{}", browser.text());
    faultless(&browser);
    browser.go(&format!("{base}/image?name={missing}"));
    let text = browser.text();
    for wanted in ["Asked now", "kubectl set image", "Verify", "Data"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    faultless(&browser);
    browser.go(&format!("{base}/workload?kind=Deployment&namespace=shop&name=cart"));
    assert!(browser.text().contains("deployment cart in shop"), "{}", browser.text());
    faultless(&browser);
    let status = program.terminate(crate::cluster::PATIENCE);
    assert!(!program.output().contains("panicked"), "{status}: {}", program.output());
}
