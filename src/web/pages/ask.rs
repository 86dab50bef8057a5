//! A page with one button that posts: for what a GET must not do (mail scanners follow links).

use askama::Template;

#[derive(Template)]
#[template(path = "ask.html")]
pub struct Ask<'a> {
    pub title: &'a str,
    pub text: &'a str,
    /// A path of this server.
    pub action: &'a str,
    /// Hidden fields.
    pub fields: &'a [(&'a str, &'a str)],
    pub button: &'a str,
}
