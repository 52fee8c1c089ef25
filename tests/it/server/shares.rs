//! One namespace's reviews leave room for those of others.

use super::*;

fn review_in(namespace: &str, word: &str) -> String {
    format!(r#"{{"request":{{"uid":"u-1","namespace":"{namespace}"}},"say":"{word}"}}"#)
}

#[tokio::test]
async fn a_namespace_whose_reviews_hang_leaves_room_for_others() {
    let house = house(Limits { reviews: 8, body_mebibytes: 16 });
    let path = format!("/validate/{TOKEN}?timeout=5s");
    let mut hanging = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (router, body) = (house.router.clone(), Body::from(review_in("noisy", "HANG")));
        hanging.spawn(router.oneshot(Request::post(&path).body(body).unwrap()));
    }
    while !house.counts(r#"pullgate_reviews_cut_short_total{reason="overload"} 14"#) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(house.counts("pullgate_reviews_in_flight 6"));
    for namespace in ["shop", "other", ""] {
        let (status, body) = house.post(&path, review_in(namespace, "")).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "validate 4"), "{namespace}");
    }
}
