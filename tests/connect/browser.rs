//! A browser as far as connecting needs one: a cookie jar, forms, and no redirect followed unless told.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use url::Url;

#[derive(Default)]
pub struct Browser {
    jar: Mutex<BTreeMap<String, String>>,
}

/// An answer, read whole.
pub struct Seen {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn location(&self) -> Url {
        assert_eq!(self.status, 303, "a redirect was expected: {}", self.body);
        Url::parse(self.header("location")).unwrap()
    }

    pub fn cookies(&self) -> Vec<&str> {
        self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
    }
}

pub fn param(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

impl Browser {
    pub async fn get(&self, url: &str) -> Seen {
        self.send(client().get(url)).await
    }

    pub async fn head(&self, url: &str) -> Seen {
        self.send(client().head(url)).await
    }

    /// As a form of the page itself posts.
    pub async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Seen {
        self.send(form(url, fields).header("sec-fetch-site", "same-origin")).await
    }

    /// As a form of another site posts: cookies marked `Lax` stay at home.
    pub async fn post_from(&self, site: &str, url: &str, fields: &[(&str, &str)]) -> Seen {
        self.send(form(url, fields).header("sec-fetch-site", "cross-site").header("origin", site)).await
    }

    pub fn cookies(&self) -> BTreeMap<String, String> {
        self.jar.lock().unwrap().clone()
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Seen {
        let cookies: Vec<String> = self.jar.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) };
        let response = request.send().await.unwrap();
        let seen = Seen {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        };
        self.keep(&seen);
        seen
    }

    fn keep(&self, seen: &Seen) {
        let mut jar = self.jar.lock().unwrap();
        for cookie in seen.cookies() {
            let (pair, rest) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if rest.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// One for all: making a client is slow. It keeps no connection, since each test has a runtime of its own.
#[expect(clippy::disallowed_methods, reason = "a test's browser calls the server under test")]
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
});

pub fn client() -> &'static reqwest::Client {
    &CLIENT
}

pub fn form(url: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    client().post(url).header("content-type", "application/x-www-form-urlencoded").body(body)
}
