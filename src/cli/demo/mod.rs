//! `claviger demo`: the whole journey in one terminal, on a throw-away folder, through HTTP as
//! everybody else: a tenant's backend, an end user's browser, the sandbox provider.

mod terminal;
mod wire;

use std::path::PathBuf;

use clap::Args;
use secrecy::ExposeSecret as _;
use url::Url;

use crate::adapters::system::{SystemClock, SystemEntropy};
use crate::app::folder::NodeFolder;
use crate::app::{Application, Parts, process};
use crate::ports::entropy::random;
use crate::settings::{Layers, Mode, Settings};

use super::dev::{self, ensure_master_key};
use super::dev_account::{self, DevAccount};
use super::failure::Failure;
use super::{block_on, out};

use terminal::{told, waiting};
use wire::{Reply, Wire};

/// The sandbox's short-lived tokens live 8 seconds.
const EXPIRY_SECONDS: u64 = 8;

const AFTER: &str = "\
Needs no network and no account anywhere, leaves nothing behind, and takes about ten seconds.

Example:
  claviger demo

Exit codes: 0 every step went as it should, 1 one did not, 2 wrong usage or settings.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct DemoArgs {}

pub fn run(_args: DemoArgs) -> Result<(), Failure> {
    let scratch = Scratch::make()?;
    let folder = NodeFolder::claim(&scratch.0)?;
    ensure_master_key(&folder)?;
    let mut layers = dev::layers(Layers::default(), &scratch.0);
    layers.fixed.push(("server.listen", "127.0.0.1:0".to_owned()));
    layers.fixed.push(("telemetry.log", "warn".to_owned()));
    let settings = Settings::load(&layers, Mode::Dev)?;
    process::start_log(&settings.telemetry);
    block_on(async {
        let app = Application::build(settings, folder, Parts::default()).await?;
        let account = dev_account::ensure(&app).await?;
        let userinfo = format!("{}/userinfo", app.sandbox_origin().unwrap_or_default());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let server = tokio::spawn(app.run_until_stopped(async move { _ = stopped.await }));
        let played = play(&account, &userinfo).await;
        _ = stop.send(());
        server.await.map_err(|cause| Failure::Failed(cause.to_string()))?.map_err(Failure::from_io("the server broke down"))?;
        played
    })
}

/// A folder that is gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, Failure> {
        let name = format!("claviger-demo-{}", hex::encode(random::<8>(&SystemEntropy)?));
        Ok(Self(std::env::temp_dir().join(name)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(cause) = std::fs::remove_dir_all(&self.0) {
            out::warn(&format!("{} cannot be removed: {cause}", self.0.display()));
        }
    }
}

async fn play(account: &DevAccount, userinfo: &str) -> Result<(), Failure> {
    let wire = Wire::new(account.url(), account.api_key().clone())?;
    told(
        "Claviger runs on this machine, with a sandbox provider beside it.\nYou are a SaaS backend. Your credential is an API key:",
    )?;
    out::line(&format!("  auth=\"Authorization: Bearer {}…\"", account.api_key().expose_secret().get(..12).unwrap_or_default()))?;

    told("1. Enable a provider, once, with the OAuth client that you registered there.")?;
    let fields = [("provider", "sandbox"), ("client_id", "demo"), ("client_secret", "anything"), ("scopes", "read,short-lived")];
    wire.shown("/enable-provider", &fields, &["provider", "redirect_uri"]).await?;

    told("2. Make a link for one of your end users, and send her browser there.")?;
    let made = wire.shown("/authorize-sandbox", &[("end_user_id", "alice")], &["authorize_url", "expires_at"]).await?;

    told("3. Alice opens it, presses Connect, sees what the provider asks, and allows it.")?;
    connect(&wire, made.text("authorize_url")?).await?;

    told("4. From now on you ask one question.")?;
    let first = token(&wire).await?;
    wire.use_token(userinfo, &first, 200).await?;

    told("5. The token expires.")?;
    waiting(&SystemClock::start(), EXPIRY_SECONDS + 1).await?;
    wire.use_token(userinfo, &first, 401).await?;

    told("6. Ask again: Claviger has refreshed it.")?;
    let second = token(&wire).await?;
    if first.text("access_token")? == second.text("access_token")? {
        return Err(Failure::Failed("the token was not refreshed".to_owned()));
    }
    wire.use_token(userinfo, &second, 200).await?;
    told("That is all your backend ever does. `claviger dev` gives you a server to try it with yourself.")
}

async fn token(wire: &Wire) -> Result<Reply, Failure> {
    let query = [("provider", "sandbox"), ("end_user_id", "alice")];
    wire.shown("/get-access-token", &query, &["access_token", "expires_in", "generation"]).await
}

/// What the end user's browser does: two pages, two buttons, one cookie.
async fn connect(wire: &Wire, link: &str) -> Result<(), Failure> {
    wire.page(link).await?;
    let (path, secret) = link.split_once("?link=").ok_or_else(|| Failure::Failed("the link has another form".to_owned()))?;
    let gone = wire.press(&format!("{path}/decision"), &[("link", secret), ("decision", "connect")]).await?;
    let authorize = gone.location()?;
    out::line(&format!("  Connect  → {}", terminal::shortened(authorize.as_str())))?;
    wire.page(authorize.as_str()).await?;
    let asked: Vec<(String, String)> = authorize.query_pairs().into_owned().collect();
    let mut form: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    form.extend([("account", "alice"), ("decision", "allow")]);
    let back = wire.press(&without_query(&authorize), &form).await?.location()?;
    out::line(&format!("  Allow    → {}", terminal::shortened(back.as_str())))?;
    let landed = wire.visit(back.as_str(), gone.cookie()).await?;
    out::line(&format!("  Claviger ← {} the code is exchanged, the tokens are sealed and kept", landed.status()))
}

fn without_query(url: &Url) -> String {
    let mut bare = url.clone();
    bare.set_query(None);
    bare.into()
}
