//! Through a proxy: who is spoken to, who is not, and what is still checked.

use pullgate::image::ImageReference;
use pullgate::pull::{NetworkFault, Outcome};
use pullgate::registry::{ProxyOptions, RegistryClient, RegistryOptions};

use super::scripted::*;

fn through(proxy: &str, host: &str, no_proxy: &str) -> RegistryOptions {
    let mut options = RegistryOptions::default();
    options.hosts.insert(host, vec![endpoint(host)]);
    options.proxy = ProxyOptions {
        http: Some(format!("http://user:pass@{proxy}")),
        https: None,
        no_proxy: no_proxy.to_owned(),
    };
    options
}

async fn ask(options: RegistryOptions, image: &str) -> Outcome {
    let client = RegistryClient::new(options).unwrap();
    look(&client, &ImageReference::parse(image).unwrap(), None).await.outcome
}

#[tokio::test]
async fn a_proxy_gets_its_login_and_the_whole_address() {
    let proxy = Scripted::start().await;
    proxy.put_image("a/b", "v1", "linux", "amd64");
    let options = through(&proxy.host(), "registry.example.com", "");
    let outcome = ask(options, "registry.example.com/a/b:v1").await;
    assert!(matches!(outcome, Outcome::Exists(_)), "{outcome:?}");
    let call = &proxy.calls()[0];
    assert_eq!(call.headers["host"], "registry.example.com");
    assert_eq!(call.headers["proxy-authorization"], "Basic dXNlcjpwYXNz");
}

#[tokio::test]
async fn literal_addresses_are_checked_in_front_of_a_proxy_too() {
    let proxy = Scripted::start().await;
    for host in ["169.254.169.254", "127.0.0.1:5000", "[fd00:ec2::254]"] {
        let outcome = ask(through(&proxy.host(), host, ""), &format!("{host}/a/b:v1")).await;
        assert_eq!(outcome, Outcome::ForbiddenAddress, "{host}");
    }
    assert_eq!(proxy.log(), [""; 0]);
}

#[tokio::test]
async fn no_proxy_leaves_the_proxy_out() {
    let proxy = Scripted::start().await;
    let options = through(&proxy.host(), "localhost:1", "localhost,.example.com");
    assert_eq!(ask(options, "localhost:1/a/b:v1").await, Outcome::ForbiddenAddress);
    assert_eq!(proxy.log(), [""; 0]);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_said_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = listener.local_addr().unwrap().to_string();
    drop(listener);
    let options = through(&dead, "registry.example.com", "");
    let outcome = ask(options, "registry.example.com/a/b:v1").await;
    assert_eq!(outcome, Outcome::Network(NetworkFault::Proxy));
}

#[test]
fn the_usual_variables_are_read() {
    let read = |all: &'static [(&str, &str)]| {
        ProxyOptions::from_variables(|name| {
            all.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let both = read(&[("HTTPS_PROXY", "https://a"), ("https_proxy", "b"), ("no_proxy", "c")]);
    assert_eq!((both.https.as_deref(), both.http, &*both.no_proxy), (Some("https://a"), None, "c"));
    let all = read(&[("ALL_PROXY", "http://a"), ("HTTP_PROXY", "")]);
    assert_eq!((all.https.as_deref(), all.http.as_deref()), (Some("http://a"), Some("http://a")));
    let mut options = RegistryOptions::default();
    options.proxy.https = Some("http://".to_owned());
    assert!(RegistryClient::new(options).is_err());
}
