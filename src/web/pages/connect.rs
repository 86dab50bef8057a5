//! The page behind an authorize link: who asks, for what, for whom, and what happens next.

use askama::Template;

#[derive(Template)]
#[template(path = "connect.html")]
pub struct ConnectPage<'a> {
    pub tenant: &'a str,
    pub provider: &'a str,
    pub end_user: &'a str,
    /// Where the decision is posted, a path of this server.
    pub action: &'a str,
    pub link: &'a str,
    /// The consent is given on another device, with a code.
    pub by_device: bool,
}
