//! The page with a code that is entered at the provider, on this device or another. It asks again by itself.

use askama::Template;

#[derive(Template)]
#[template(path = "device.html")]
pub struct DevicePage<'a> {
    pub tenant: &'a str,
    pub provider: &'a str,
    pub end_user: &'a str,
    pub code: &'a str,
    /// Where the code is entered, as it is shown.
    pub place: &'a str,
    /// The same as a link, with the code in it where the provider has that.
    pub href: &'a str,
    /// Seconds until the page is asked for again.
    pub again: u64,
}
