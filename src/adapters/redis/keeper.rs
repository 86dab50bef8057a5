//! Looks after the store once a second, so that another one in its place is known without any traffic,
//! and keeps what the operator should know of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::link::Fault;
use super::routes::Routes;
use super::safety::{self, Settings, Waiting};

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub struct Keeper {
    pub routes: Arc<Routes>,
    waiting: Waiting,
    notes: Mutex<Vec<String>>,
}

impl Keeper {
    pub fn new(routes: Arc<Routes>, waiting: Waiting, settings: &[Settings]) -> Arc<Self> {
        let keeper = Arc::new(Self { routes, waiting, notes: Mutex::default() });
        keeper.note(settings);
        let weak = Arc::downgrade(&keeper);
        tokio::spawn(async move {
            let (mut epoch, mut away) = (0, false);
            while let Some(keeper) = weak.upgrade() {
                let looked = keeper.routes.look().await;
                tell(&looked, &mut away);
                if keeper.routes.epoch() != epoch && looked.is_ok() {
                    epoch = keeper.routes.epoch();
                    keeper.learn_again().await;
                }
                drop(keeper);
                #[expect(clippy::disallowed_methods, reason = "a server is looked after in real time, as it is waited for")]
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        keeper
    }

    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another server may be set up otherwise. It is used all the same: without it there is none.
    async fn learn_again(&self) {
        if let Ok(settings) = safety::learn(&self.routes).await {
            self.note(&settings);
        }
    }

    fn note(&self, settings: &[Settings]) {
        let found = safety::notes(settings, self.waiting);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        for new in found.iter().filter(|note| !notes.contains(note)) {
            tracing::warn!("{new}");
        }
        *notes = found;
    }
}

/// Once when it goes, and once when it comes back.
fn tell(looked: &Result<(), Fault>, away: &mut bool) {
    match looked {
        Err(fault) if !*away => tracing::warn!(error = fault.to_string(), "the store cannot be reached or does not take writes"),
        Ok(()) if *away => tracing::info!("the store is back"),
        _ => {}
    }
    *away = looked.is_err();
}
