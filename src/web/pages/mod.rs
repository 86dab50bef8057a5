//! Pages for people: one layout, one stylesheet, no script and nothing from elsewhere. It owns how a
//! page looks and which policy it carries; what a page says is decided by whoever answers it.

mod ask;
mod connect;
mod device;
mod explained;
mod message;
mod password;
mod text;

use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

pub use ask::Ask;
pub use connect::ConnectPage;
pub use device::DevicePage;
pub use explained::explained;
pub use message::{Message, WayOn};
pub use password::PasswordPage;
pub use text::shown;

/// The one stylesheet, inlined into each page and allowed by its hash.
const STYLE: &str = include_str!("style.css");
static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE.as_bytes())));

/// How a page feels, by its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Calm,
    Good,
    Bad,
}

/// Where a page's forms may lead. Chromium applies `form-action` to every redirect that follows a
/// form's POST, and not to its first address alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forms {
    /// The page has no form.
    Absent,
    /// To this server, which answers with a page.
    Ours,
    /// To this server, which sends the browser on to these sources (origins or schemes).
    OursThen(Vec<String>),
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Tone::Calm => "",
            Tone::Good => "good",
            Tone::Bad => "bad",
        }
    }

    fn icon(self) -> &'static str {
        match self {
            Tone::Calm => KEY_ICON,
            Tone::Good => TICK_ICON,
            Tone::Bad => MARK_ICON,
        }
    }
}

impl Forms {
    fn sources(&self) -> String {
        match self {
            Forms::Absent => "'none'".to_owned(),
            Forms::Ours => "'self'".to_owned(),
            Forms::OursThen(sources) => {
                std::iter::once("'self'").chain(sources.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// A page as an answer. A page that cannot be written leaves an empty body, never half of one.
pub fn answer(status: StatusCode, page: &impl Template, forms: &Forms) -> HttpResponse {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; frame-ancestors 'none'; form-action {}",
        *STYLE_HASH,
        forms.sources()
    );
    match page.render() {
        Ok(html) => HttpResponseBuilder::new(status)
            .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
            .insert_header((CONTENT_SECURITY_POLICY, policy))
            .body(html),
        Err(cause) => {
            tracing::error!(%cause, "a page could not be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}

const KEY_ICON: &str = r#"<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"><circle cx="8" cy="15" r="4.5"/><path d="M11.3 11.7 20 3M16 7l3 3"/></svg>"#;
const TICK_ICON: &str = r#"<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.5" stroke-linecap="round" stroke-linejoin="round"><path d="m4.5 12.5 5 5 10-11"/></svg>"#;
const MARK_ICON: &str = r#"<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.5" stroke-linecap="round"><path d="M12 5v9"/><path d="M12 18.8v.1"/></svg>"#;

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody as _;

    use super::*;

    const POLYGLOT: &str = r#"'"><svg/onload=alert(1)></title></style><script>alert(1)</script>{{7*7}}"#;

    fn html(page: &impl Template) -> String {
        let body = answer(StatusCode::OK, page, &Forms::Absent).into_body().try_into_bytes().unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn foreign_text_cannot_leave_its_place() {
        let foreign = POLYGLOT;
        let connect = ConnectPage {
            tenant: foreign,
            provider: foreign,
            end_user: foreign,
            action: foreign,
            link: foreign,
            by_device: true,
        };
        let device = DevicePage {
            tenant: foreign,
            provider: foreign,
            end_user: foreign,
            code: foreign,
            place: foreign,
            href: foreign,
            again: 3,
        };
        let ask = Ask { title: foreign, text: foreign, action: foreign, fields: &[(foreign, foreign)], button: foreign };
        let way_on = Some(WayOn { label: foreign, href: foreign });
        let message = Message { tone: Tone::Bad, title: foreign, text: foreign, next: foreign, way_on, request_id: foreign };
        let password = PasswordPage { action: foreign, token: foreign, minimum: 10, wrong: foreign };
        for page in [html(&connect), html(&device), html(&ask), html(&message), html(&password)] {
            assert!(page.contains("alert(1)"), "the text is there");
            assert!(!page.contains("<script") && !page.contains("<svg/") && !page.contains(r#"'">"#));
            assert_eq!(page.matches("</style>").count(), 1);
        }
    }

    #[test]
    fn the_policy_allows_the_stylesheet_that_the_page_holds_and_names_where_forms_lead() {
        let page = Message { tone: Tone::Good, title: "t", text: "x", next: "", way_on: None, request_id: "" };
        let rendered = html(&page);
        let style = rendered.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
        let forms = Forms::OursThen(vec!["https://accounts.example".to_owned()]);
        let response = answer(StatusCode::OK, &page, &forms);
        let policy = response.headers().get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' https://accounts.example"
            )
        );
    }
}
