//! Argon2id, within bounds: so many at once, so many waiting, and nobody beyond. It knows nothing of
//! accounts.

use std::sync::Arc;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;

/// OWASP's second choice of parameters (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const OUTPUT: usize = 32;
pub const SALT_LEN: usize = 16;
/// Callers that may wait for each one that computes: at some 20 ms each, a wait of half a second.
const WAITING_PER_TURN: usize = 24;

pub struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    runtime: Handle,
}

/// A turn, that is some memory and a processor; given back when the work is done, also when the
/// caller has gone.
pub struct Turn {
    runtime: Handle,
    held: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Passwords {
    /// `at_once`: how many hashes are computed at a time.
    pub fn new(at_once: usize, runtime: Handle) -> Self {
        let at_once = at_once.max(1);
        let places = at_once * (1 + WAITING_PER_TURN);
        Self { turns: Arc::new(Semaphore::new(at_once)), places: Arc::new(Semaphore::new(places)), runtime }
    }

    /// Waits for a turn; refuses when too many wait already.
    pub async fn turn(&self) -> Result<Turn, Refusal> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|cause| busy().with_cause(cause))?;
        Ok(Turn { runtime: self.runtime.clone(), held: (place, turn) })
    }
}

impl Turn {
    /// The password's hash as a PHC string.
    pub async fn hash(self, password: SecretString, salt: [u8; SALT_LEN]) -> Result<String, Refusal> {
        self.run(move || {
            let hash = argon2()?.hash_password_with_salt(password.expose_secret().as_bytes(), &salt).map_err(broken)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether it is the password of this hash. Without one the work is the same and the answer no.
    pub async fn matches(self, password: SecretString, hash: Option<String>) -> Result<bool, Refusal> {
        self.run(move || {
            let password = password.expose_secret().as_bytes();
            match hash {
                Some(hash) => match argon2()?.verify_password(password, hash.as_str()) {
                    Ok(()) => Ok(true),
                    Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                    Err(error) => Err(broken(error)),
                },
                None => argon2()?.hash_password_with_salt(password, &[0; SALT_LEN]).map(|_| false).map_err(broken),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(self, work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
        let Self { runtime, held } = self;
        let work = move || {
            let result = work();
            drop(held);
            result
        };
        runtime.spawn_blocking(work).await.map_err(|cause| internal().with_cause(cause))?
    }
}

fn argon2() -> Result<Argon2<'static>, Refusal> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT)).map_err(|cause| internal().with_cause(cause.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn broken(error: argon2::password_hash::Error) -> Refusal {
    internal().with_cause(format!("a password could not be hashed: {error}"))
}

fn internal() -> Refusal {
    Refusal::new(ErrorCode::Internal, "Something went wrong on our side; the log has the details.")
}

fn busy() -> Refusal {
    let detail = "Too many people sign in at this moment; try again shortly, or use an API key.";
    Refusal::new(ErrorCode::RateLimited, detail).with_retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(at_once: usize) -> Passwords {
        Passwords::new(at_once, Handle::current())
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_with_the_parameters_above_and_knows_its_password() {
        let passwords = passwords(2);
        let hash = passwords.turn().await.unwrap().hash("correct horse".into(), [7; SALT_LEN]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        for (password, right) in [("correct horse", true), ("correct horsf", false), ("", false)] {
            let found = passwords.turn().await.unwrap().matches(password.into(), Some(hash.clone())).await.unwrap();
            assert_eq!(found, right, "{password}");
        }
        let other = passwords.turn().await.unwrap().hash("correct horse".into(), [8; SALT_LEN]).await.unwrap();
        assert_ne!(hash, other);
    }

    #[tokio::test]
    async fn without_a_hash_no_password_is_right() {
        let found = passwords(1).turn().await.unwrap().matches("correct horse".into(), None).await.unwrap();
        assert!(!found);
    }

    #[tokio::test]
    async fn beyond_those_who_compute_and_those_who_wait_everybody_is_refused() {
        let passwords = Arc::new(passwords(1));
        let first = passwords.turn().await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..WAITING_PER_TURN {
            waiting.push(Box::pin({
                let passwords = passwords.clone();
                async move { passwords.turn().await.map(drop) }
            }));
        }
        for waiter in &mut waiting {
            assert!(futures::poll!(waiter.as_mut()).is_pending());
        }
        let refusal = passwords.turn().await.err().unwrap();
        assert_eq!((refusal.code, refusal.retry_after), (ErrorCode::RateLimited, Some(Duration::from_secs(1))));
        drop(first);
        for waiter in waiting {
            waiter.await.unwrap();
        }
        assert!(passwords.turn().await.is_ok());
    }
}
