use crate::harness::{Answer, PASSWORD, World, send};

const DEV: &str = "dev@example.com";
const NEW_PASSWORD: &str = "an altogether new one";

#[track_caller]
fn is_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    let header = |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap());
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer", "the address holds the token");
    let policy = header("content-security-policy");
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action "] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !answer.text.contains("<script"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verification_page_asks_and_its_button_verifies() {
    let world = World::start().await;
    let letter = world.sign_up(DEV).await;
    for _ in 0..3 {
        let page = send(world.get(&letter.link())).await;
        is_page(&page, 200);
        assert!(page.text.contains(r#"action="/verify-email/page""#) && page.text.contains(&letter.token()));
    }
    world.sign_in(DEV, PASSWORD).await.refused(403, "email_not_verified");
    let done = world.post("/verify-email/page", &[("token", &letter.token())]).await;
    is_page(&done, 200);
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200);
    let again = world.post("/verify-email/page", &[("token", &letter.token())]).await;
    is_page(&again, 400);
    assert!(again.text.contains("The code is wrong or has expired"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reset_page_takes_a_password_and_says_what_is_wrong_with_one() {
    let world = World::start().await;
    world.verified(DEV).await;
    let letter = world.forgot(DEV).await;
    let page = send(world.get(&letter.link())).await;
    is_page(&page, 200);
    assert!(page.text.contains(r#"type="password""#) && page.text.contains(r#"action="/reset-password/page""#));
    let token = letter.token();
    let weak = world.post("/reset-password/page", &[("token", &token), ("new_password", "short")]).await;
    is_page(&weak, 400);
    assert!(weak.text.contains("must have 10 to 1024 bytes") && weak.text.contains(&token), "another try from the same page");
    assert!(!weak.text.contains("short"), "what was typed does not come back");
    let done = world.post("/reset-password/page", &[("token", &token), ("new_password", NEW_PASSWORD)]).await;
    is_page(&done, 200);
    assert_eq!(world.sign_in(DEV, NEW_PASSWORD).await.status, 200);
    is_page(&world.post("/reset-password/page", &[("token", &token), ("new_password", NEW_PASSWORD)]).await, 400);
}

/// A page for any token is the same: only the button asks the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_does_not_tell_a_good_token_from_another() {
    let world = World::start().await;
    let letter = world.sign_up(DEV).await;
    let (good, bad) = (letter.token(), "x".repeat(letter.token().len()));
    for path in ["/verify-email", "/reset-password"] {
        let page = |token: &str| send(world.get(&format!("{path}?token={token}")));
        let (one, other) = (page(&good).await, page(&bad).await);
        assert_eq!(one.text.replace(&good, "T"), other.text.replace(&bad, "T"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_not_whole_ends_on_a_page() {
    let world = World::start().await;
    for path in ["/verify-email", "/reset-password", "/verify-email?tok=x", "/verify-email?token=a&token=b"] {
        let page = send(world.get(path)).await;
        is_page(&page, 400);
        assert!(page.text.contains("copy it from the mail once more"));
        assert!(page.text.contains(page.headers["x-request-id"].to_str().unwrap()));
    }
    for path in ["/verify-email/page", "/reset-password/page"] {
        is_page(&world.post(path, &[]).await, 400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_cannot_leave_its_place_in_the_page() {
    let world = World::start().await;
    let hostile = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    for path in ["/verify-email", "/reset-password"] {
        is_page(&send(world.get(&format!("{path}?token={hostile}"))).await, 200);
    }
    is_page(&world.post("/reset-password/page", &[("token", r#""><script>"#), ("new_password", "short")]).await, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_are_limited_as_the_api_is() {
    let world = World::start().await;
    let mut last = 0;
    for _ in 0..=60 {
        last = world.post_from("10.0.0.1", "/verify-email/page", &[("token", "x")]).await.status;
    }
    assert_eq!(last, 429);
    let page = world.post_from("10.0.0.1", "/verify-email/page", &[("token", "x")]).await;
    is_page(&page, 429);
    assert!(page.headers.contains_key("retry-after"));
}
