//! The provider file that tells a broker about one of the ledger's classes.

use std::time::Duration;

use super::book::Class;
use crate::provider_file;

pub fn provider_file(class: Class, origin: &str, window: Option<Duration>, refresh: &str) -> String {
    let id = class.name();
    let rotation = match class {
        Class::Nonrotating => "class = \"nonrotating\"".to_owned(),
        Class::Grace | Class::Newest => {
            format!("class = \"rotate_grace\"\ngrace = \"{}s\"", window.unwrap_or_default().as_secs())
        }
        Class::Plain => "class = \"rotate_plain\"".to_owned(),
        Class::Strict => "class = \"rotate_strict\"".to_owned(),
    };
    let refresh = format!("{rotation}\n{refresh}");
    let [authorize, token, revoke] = ["authorize", "token", "revoke"].map(|endpoint| format!("/{id}/{endpoint}"));
    provider_file::with_endpoints(&format!("Ledger ({id})"), origin, &refresh, (&authorize, &token, &revoke))
}
