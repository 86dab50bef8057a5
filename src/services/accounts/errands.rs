//! Work that goes on after the answer, so that the answer's time tells nothing. Bounded: when too
//! much is under way, callers are told before, not after.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;

const UNDER_WAY_MAX: u32 = 512;
const AT_ONCE: usize = 8;

pub struct Errands {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    runtime: Handle,
}

/// A place for one errand.
pub struct Place {
    held: OwnedSemaphorePermit,
    turns: Arc<Semaphore>,
    runtime: Handle,
}

impl Errands {
    pub fn new(runtime: Handle) -> Self {
        Self { places: Arc::new(Semaphore::new(UNDER_WAY_MAX as usize)), turns: Arc::new(Semaphore::new(AT_ONCE)), runtime }
    }

    pub fn place(&self) -> Result<Place, Refusal> {
        let held = self.places.clone().try_acquire_owned().map_err(|_| busy())?;
        Ok(Place { held, turns: self.turns.clone(), runtime: self.runtime.clone() })
    }

    /// Returns when all that was begun is done.
    pub async fn finish(&self) {
        // The semaphore is never closed, so that acquiring cannot fail.
        let _all = self.places.acquire_many(UNDER_WAY_MAX).await;
    }
}

impl Place {
    pub fn run(self, errand: impl Future<Output = ()> + Send + 'static) {
        let Self { held, turns, runtime } = self;
        runtime.spawn(async move {
            let _place = held;
            let _turn = turns.acquire_owned().await;
            errand.await;
        });
    }
}

fn busy() -> Refusal {
    let detail = "Too many mails are being sent at this moment; try again shortly.";
    Refusal::new(ErrorCode::RateLimited, detail).with_retry_after(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_so_many_places_and_finishing_waits_for_each() {
        let errands = Errands::new(Handle::current());
        let (go, gate) = tokio::sync::watch::channel(false);
        for _ in 0..UNDER_WAY_MAX {
            let mut gate = gate.clone();
            errands.place().unwrap().run(async move {
                gate.wait_for(|open| *open).await.unwrap();
            });
        }
        assert_eq!(errands.place().err().unwrap().code, ErrorCode::RateLimited);
        let mut finished = Box::pin(errands.finish());
        assert!(futures::poll!(finished.as_mut()).is_pending());
        go.send(true).unwrap();
        finished.await;
        assert!(errands.place().is_ok());
    }
}
