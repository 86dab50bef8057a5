//! What an operator's commands ask for, done: by the running server, or by a command that opened the
//! store itself.

use crate::domain::node::NodeRecord;
use crate::domain::refusal::Refusal;
use crate::services::Services;
use crate::services::accounts::Verification;
pub use crate::services::resume::Progress;
use crate::services::resume::Tried;
use secrecy::SecretString;

use super::admin::{Ask, JOURNAL_PAGE, JournalPage, NodeLine, SweepOrder, Told, TriedLine};
use super::backup;

/// Does what is asked.
pub async fn perform(services: &Services, ask: Ask, progress: &Progress) -> Told {
    let told = match ask {
        Ask::CreateTenant { email, password } => create_tenant(services, &email, password.into()).await,
        Ask::ShowJournal { after } => show_journal(services, after).await,
        Ask::Sweep { order } => Ok(sweep(services, order)),
        Ask::ListNodes => list_nodes(services).await,
        Ask::Resume { force } => resume(services, force, progress).await,
        Ask::Backup { file, force } => {
            let written = backup::write(services, &file, force, progress).await;
            written.map(|manifest| Told::BackedUp { manifest }).map_err(|error| error.to_string())
        }
        Ask::ForgetNode { id } => forget_node(services, &id, progress).await,
    };
    told.unwrap_or_else(|detail| Told::Refused { detail })
}

async fn create_tenant(services: &Services, email: &str, password: SecretString) -> Result<Told, String> {
    let made = services.accounts.create_tenant(email, password, Verification::Vouched).await;
    let tenant = made.map_err(|refusal: Refusal| refusal.detail)?;
    Ok(Told::TenantCreated { id: tenant.id.to_string(), was_there: tenant.was_there })
}

async fn show_journal(services: &Services, after: u64) -> Result<Told, String> {
    let waiting = services.journal.waiting(after, JOURNAL_PAGE).await.map_err(|error| error.to_string())?;
    Ok(Told::Journal(JournalPage::of(services.journal.state(), waiting)))
}

fn sweep(services: &Services, order: SweepOrder) -> Told {
    match order {
        SweepOrder::Pause => services.sweeper.pause(),
        SweepOrder::Resume => services.sweeper.resume(),
        SweepOrder::Status => {}
    }
    Told::Sweep(services.sweeper.state())
}

async fn list_nodes(services: &Services) -> Result<Told, String> {
    let nodes = services.nodes.list().await.map_err(|error| error.to_string())?;
    let line = |node: NodeRecord| {
        let silent = services.nodes.silence(&node.id);
        NodeLine { here: services.nodes.id() == node.id, silent, node }
    };
    Ok(Told::Nodes { nodes: nodes.into_iter().map(line).collect() })
}

async fn forget_node(services: &Services, id: &str, progress: &Progress) -> Result<Told, String> {
    _ = progress.send(format!("watching whether {id} beats")).await;
    services.nodes.forget(id).await.map_err(|error| error.to_string())?;
    Ok(Told::Forgotten)
}

async fn resume(services: &Services, force: bool, progress: &Progress) -> Result<Told, String> {
    let tried = services.resume(force, progress).await.map_err(|error| error.to_string())?;
    let line = |tried: Tried| TriedLine {
        provider: tried.provider.to_string(),
        connection: tried.connection.to_string(),
        refused: tried.refused,
    };
    Ok(Told::Resumed { tried: tried.into_iter().map(line).collect() })
}
