//! `claviger dev`: everything in one folder, reachable from this machine alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::ExposeSecret as _;

use crate::adapters::system::SystemEntropy;
use crate::app::folder::NodeFolder;
use crate::app::{Application, Parts, process};
use crate::settings::{Layers, Mode, Settings};
use crate::store::MasterKey;

use super::dev_account;
use super::failure::Failure;
use super::{ConfigArgs, block_on, out};

const MASTER_KEY: &str = "master.key";
const STORE: &str = "claviger.db";

const AFTER: &str = "\
On a new folder it makes a master key, a verified tenant and an API key. The first lines on stdout are
CLAVIGER_URL, CLAVIGER_EMAIL, CLAVIGER_PASSWORD and CLAVIGER_API_KEY, kept in DIR/dev.env and printed
again on the next start. Mail is written to DIR/mail and to the log.

Example:
  claviger dev --data ./data
  . ./data/dev.env    # in another terminal

Exit codes: 0 stopped on request, 1 could not start or broke down, 2 wrong usage or settings.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct DevArgs {
    /// Folder that holds everything.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// Where to listen; loopback only [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// URL of a tunnel that leads here.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: DevArgs) -> Result<(), Failure> {
    let folder = NodeFolder::claim(&args.data)?;
    ensure_master_key(&folder)?;
    let mut layers = layers(Layers::of_process(args.config.config), &args.data);
    layers.fixed.extend(args.listen.map(|address| ("server.listen", address.to_string())));
    layers.fixed.extend(args.public_url.map(|url| ("server.public_url", url)));
    let settings = Settings::load(&layers, Mode::Dev)?;
    process::start_log(&settings.telemetry);
    block_on(async {
        let stop = process::stop_signal().map_err(Failure::from_io("signals"))?;
        let app = Application::build(settings, folder, Parts::default()).await?;
        let account = dev_account::ensure(&app).await?;
        out::line(&account.lines())?;
        out::line(&try_it(&args.data))?;
        app.run_until_stopped(stop).await.map_err(Failure::from_io("the server broke down"))
    })
}

/// What makes `dev` what it is lies above everything else; its other habits can be changed.
pub fn layers(mut layers: Layers, data: &Path) -> Layers {
    let within = |name: &str| data.join(name).display().to_string();
    layers.mode.extend([
        ("sandbox.enabled", "true".to_owned()),
        ("sandbox.listen", String::new()),
        ("accounts.signup", "open".to_owned()),
        ("mail.url", format!("dir:{}", within("mail"))),
        ("telemetry.format", "text".to_owned()),
        ("journal.bytes", "16MiB".to_owned()),
    ]);
    layers.fixed.extend([
        ("node.data", data.display().to_string()),
        ("store.url", format!("sqlite:{}", within(STORE))),
        ("store.url_file", String::new()),
        ("keys.master", String::new()),
        ("keys.master_file", within(MASTER_KEY)),
    ]);
    layers
}

/// A new folder gets a key; a folder with a store whose key is gone must not get another.
pub fn ensure_master_key(folder: &NodeFolder) -> Result<(), Failure> {
    if folder.file(MASTER_KEY).exists() || folder.file(STORE).exists() {
        return Ok(());
    }
    let key = MasterKey::generate(&SystemEntropy)?;
    folder
        .write_private(MASTER_KEY, &format!("{}\n", key.expose_secret()))
        .map_err(Failure::from_io("the master key cannot be written"))
}

fn try_it(data: &Path) -> String {
    let env = data.join(dev_account::FILE);
    format!(
        r#"
Try it in another terminal:

  . {env}
  auth="Authorization: Bearer $CLAVIGER_API_KEY"
  curl -H "$auth" $CLAVIGER_URL/enable-provider -d provider=sandbox -d client_id=me -d client_secret=anything -d scopes=read
  curl -H "$auth" $CLAVIGER_URL/authorize-sandbox -d end_user_id=alice     # open authorize_url in a browser
  curl -H "$auth" $CLAVIGER_URL/get-access-token -d provider=sandbox -d end_user_id=alice
"#,
        env = sourced(&env),
    )
}

/// A path that `.` takes for a file here, not for a name to look up.
fn sourced(path: &Path) -> String {
    let text = path.display().to_string();
    if path.is_absolute() || text.starts_with('.') { text } else { format!("./{text}") }
}
