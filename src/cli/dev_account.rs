//! The tenant of `claviger dev`: made once, its credentials kept in a file of this user alone, and
//! checked at each start.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::adapters::system::SystemEntropy;
use crate::app::Application;

use crate::domain::scope::Scopes;
use crate::ports::entropy::random;
use crate::services::accounts::Verification;
use crate::services::api_keys::NewApiKey;

use super::failure::Failure;

pub const FILE: &str = "dev.env";

/// What a developer needs to call the server.
pub struct DevAccount {
    url: String,
    email: String,
    password: SecretString,
    api_key: SecretString,
}

impl DevAccount {
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn api_key(&self) -> &SecretString {
        &self.api_key
    }

    /// One `NAME=value` per line; no value needs quoting in a shell.
    pub fn lines(&self) -> String {
        format!(
            "CLAVIGER_URL={}\nCLAVIGER_EMAIL={}\nCLAVIGER_PASSWORD={}\nCLAVIGER_API_KEY={}",
            self.url,
            self.email,
            self.password.expose_secret(),
            self.api_key.expose_secret()
        )
    }

    fn parse(text: &str, url: String) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
        Some(Self {
            url,
            email: value("CLAVIGER_EMAIL")?,
            password: value("CLAVIGER_PASSWORD")?.into(),
            api_key: value("CLAVIGER_API_KEY")?.into(),
        })
    }
}

/// The account of this folder: the one kept, if its key still opens this store; else a new one.
pub async fn ensure(app: &Application) -> Result<DevAccount, Failure> {
    let url = app.services().public_url().to_owned();
    let kept = std::fs::read_to_string(app.folder().file(FILE)).ok();
    let account = match kept.and_then(|text| DevAccount::parse(&text, url.clone())) {
        Some(kept) if app.services().api_keys.authenticate(&kept.api_key).await.is_ok() => kept,
        _ => make(app, url).await?,
    };
    let text = format!("{}\n", account.lines());
    app.folder().write_private(FILE, &text).map_err(Failure::from_io("dev.env cannot be written"))?;
    Ok(account)
}

/// An address that is taken belongs to an account whose password was lost with the file, so the name
/// has a random part.
async fn make(app: &Application, url: String) -> Result<DevAccount, Failure> {
    let name = hex::encode(random::<3>(&SystemEntropy)?);
    let email = format!("dev-{name}@example.test");
    let password = SecretString::from(URL_SAFE_NO_PAD.encode(random::<18>(&SystemEntropy)?));
    let tenant = app.services().accounts.create_tenant(&email, password.clone(), Verification::Vouched).await?;
    let new = NewApiKey { name: "claviger dev".to_owned(), scopes: Scopes::admin(), expires_in: None };
    let (_, api_key) = app.services().api_keys.issue(&tenant.id, new).await?;
    Ok(DevAccount { url, email, password, api_key })
}
