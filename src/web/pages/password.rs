//! The page on which a new password is chosen.

use askama::Template;

#[derive(Template)]
#[template(path = "password.html")]
pub struct PasswordPage<'a> {
    /// A path of this server.
    pub action: &'a str,
    pub token: &'a str,
    /// Bytes of the shortest password.
    pub minimum: usize,
    /// What was wrong with the last one; else empty.
    pub wrong: &'a str,
}
