//! Mail into a folder, one `.eml` file each, for its owner's eyes only.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lettre::message::Mailbox;
use tokio::io::AsyncWriteExt as _;

use crate::ports::entropy::random;
use crate::ports::mail::{Mail, MailError, MailMessage};

use super::{MailSettingError, World, written};

pub struct FolderMail {
    folder: PathBuf,
    from: Mailbox,
    world: World,
}

impl FolderMail {
    /// Makes the folder where there is none.
    pub fn open(folder: PathBuf, from: Mailbox, world: World) -> Result<Self, MailSettingError> {
        if folder.as_os_str().is_empty() {
            return Err(MailSettingError::Url("`dir:` needs a path, as in dir:./data/mail"));
        }
        make_folder(&folder).map_err(|cause| MailSettingError::Folder(cause.to_string()))?;
        Ok(Self { folder, from, world })
    }

    /// Names sort by time; two of one moment differ by chance.
    fn name(&self) -> Result<String, MailError> {
        let chance: [u8; 4] = random(self.world.entropy.as_ref()).map_err(|cause| MailError(cause.to_string()))?;
        Ok(format!("{}-{}", self.world.clock.now().strftime("%Y%m%dT%H%M%S%.3f"), hex::encode(chance)))
    }
}

#[async_trait]
impl Mail for FolderMail {
    /// Under another name first, so that whoever watches the folder meets whole mails only.
    async fn send(&self, message: MailMessage) -> Result<(), MailError> {
        let bytes = written(&message, &self.from)?.formatted();
        let name = self.name()?;
        let (half, whole) = (self.folder.join(format!(".{name}")), self.folder.join(format!("{name}.eml")));
        let failed = |cause: io::Error| MailError(cause.to_string());
        write_private(&half, &bytes).await.map_err(failed)?;
        tokio::fs::rename(&half, &whole).await.map_err(failed)
    }
}

async fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(path).await?;
    file.write_all(bytes).await?;
    file.flush().await
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
