//! The journey in a real browser, against `claviger dev` as a process: connect page, the sandbox's
//! consent, and back, with every page's policy in force. Needs chromium and chromedriver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod processes;

use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::prelude::*;

use processes::{ChromeDriver, Dev, TenantSite};

/// A machine that does much else may be slow to draw a page.
const PATIENCE: Duration = Duration::from_secs(30);

struct Journey {
    dev: Dev,
    chrome: ChromeDriver,
    driver: WebDriver,
}

impl Journey {
    async fn start() -> Self {
        let dev = Dev::start();
        let chrome = ChromeDriver::start();
        let mut wishes = DesiredCapabilities::chrome();
        for arg in ChromeDriver::args(chrome.profile()) {
            wishes.add_arg(&arg).unwrap();
        }
        wishes.set("goog:loggingPrefs", json!({ "browser": "ALL" })).unwrap();
        let driver = WebDriver::new(chrome.url(), wishes).await.unwrap();
        Self { dev, chrome, driver }
    }

    async fn link(&self, fields: Value) -> String {
        let made = self.dev.call("/authorize-sandbox", fields).await;
        made["authorize_url"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }

    async fn press(&self, decision: &str) {
        let button = self.driver.query(By::Css(format!("button[value={decision}]"))).wait(PATIENCE, Duration::from_millis(100));
        button.first().await.unwrap().click().await.unwrap();
    }

    /// One question each time: between two, the page may have gone.
    async fn reads(&self, heading: &str) {
        let there = By::XPath(format!(r#"//h1[normalize-space()="{heading}"]"#));
        let seen = self.driver.query(there).wait(PATIENCE, Duration::from_millis(100));
        if seen.first().await.is_err() {
            panic!("{heading:?} is not there, but: {}", self.driver.source().await.unwrap());
        }
    }

    /// What the browser complains of; a blocked style, form or redirect is among it.
    async fn complaints(&self) -> Vec<String> {
        let url = format!("{}/session/{}/se/log", self.chrome.url(), self.driver.session_id());
        let told = processes::post_json(&url, None, json!({ "type": "browser" })).await;
        let lines = told["value"].as_array().cloned().unwrap_or_default();
        lines.iter().filter_map(|line| line["message"].as_str()).map(str::to_owned).collect()
    }

    async fn end(self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
        self.driver.quit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_user_connects_in_a_real_browser() {
    let journey = Journey::start().await;
    let site = TenantSite::start();
    let enabled = journey.dev.call(
        "/enable-provider",
        json!({
            "provider": "sandbox", "client_id": "demo", "client_secret": "a secret of the demo", "return_urls": [site.url()],
        }),
    );
    assert_eq!(enabled.await["provider"], json!("sandbox"));

    // To the end on pages of ours.
    journey.driver.goto(journey.link(json!({ "end_user_id": "user_1" })).await).await.unwrap();
    journey.reads("Connect Sandbox").await;
    let ground =
        journey.driver.execute("return getComputedStyle(document.querySelector('main')).borderRadius", vec![]).await.unwrap();
    assert_eq!(ground.json(), &json!("16px"), "the stylesheet is in force");
    journey.press("connect").await;
    journey.press("allow").await;
    journey.reads("Connected").await;
    let token = journey.dev.call("/get-access-token", json!({ "provider": "sandbox", "end_user_id": "user_1" })).await;
    assert!(token["access_token"].is_string(), "{token}");

    // Denied, and back at the tenant's site: two origins further on from the first form.
    let link = journey.link(json!({ "end_user_id": "user_2", "return_url": site.url() })).await;
    journey.driver.goto(link).await.unwrap();
    journey.press("connect").await;
    journey.press("deny").await;
    journey.reads("The tenant's site").await;
    let back = journey.driver.current_url().await.unwrap();
    assert_eq!(back.as_str(), format!("{}?status=error&provider=sandbox&code=access_denied", site.url()));

    // Cancelled: the form's own redirect leads there.
    let link = journey.link(json!({ "end_user_id": "user_3", "return_url": site.url() })).await;
    journey.driver.goto(link).await.unwrap();
    journey.press("cancel").await;
    journey.reads("The tenant's site").await;
    journey.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_press_the_button_in_a_real_browser() {
    let journey = Journey::start().await;
    let enable = json!({ "provider": "sandbox", "client_id": "demo", "client_secret": "a secret of the demo" });
    journey.dev.call("/enable-provider", enable).await;
    let link = journey.link(json!({ "end_user_id": "attacker" })).await;
    let (page, token) = link.split_once("?link=").unwrap();
    let form = format!(
        r#"<form method=post action="{page}/decision"><input name=link value="{token}"><button name=decision value=connect>Win a prize</button></form>"#
    );
    let evil = TenantSite::showing(&form);
    journey.driver.goto(evil.url()).await.unwrap();
    journey.press("connect").await;
    journey.reads("This did not come through").await;
    journey.driver.goto(link.as_str()).await.unwrap();
    journey.reads("Connect Sandbox").await;
    journey.driver.quit().await.unwrap();
}
