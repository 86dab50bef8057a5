//! A page that tells how something ended, and what to do next.

use askama::Template;

use super::Tone;

#[derive(Template)]
#[template(path = "message.html")]
pub struct Message<'a> {
    pub tone: Tone,
    pub title: &'a str,
    pub text: &'a str,
    /// What to do now; empty when there is nothing to do.
    pub next: &'a str,
    pub way_on: Option<WayOn<'a>>,
    /// Shown with an error, so that the log can be found; else empty.
    pub request_id: &'a str,
}

/// A link shown as a button.
pub struct WayOn<'a> {
    pub label: &'a str,
    pub href: &'a str,
}
