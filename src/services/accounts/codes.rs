//! Mailed codes, and the links that do the same: six digits, ten minutes, five tries, once. Only
//! keyed hashes are kept. It knows nothing of accounts beyond their ids.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::domain::ids::TenantId;
use crate::ports::entropy::{Entropy, random};
use crate::services::Core;
use crate::store::{Change, OneTimeCode, RecordKey, StoreError, Stored, keys};

use super::limits::AccountKey;

pub const CODE_LIFE: Duration = Duration::from_secs(600);
pub const TRIES_MAX: u32 = 5;
const CODE_DIGITS: usize = 6;
const CODES: u32 = 1_000_000;
const SECRET_LEN: usize = 32;
/// The address's hash, then the secret: so that the token finds its record by itself.
const TOKEN_LEN: usize = size_of::<AccountKey>() + SECRET_LEN;

/// What a code is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Verification,
    PasswordReset,
}

/// Whom a code is for, and what it brings about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub tenant: TenantId,
    /// The password that a signup chose: bound to the signup's own code, so that of several signups
    /// for one address the one whose mail was read counts.
    pub password_hash: Option<String>,
}

/// A new code and the token of its link; only their hashes stay here.
pub struct NewCode {
    pub code: SecretString,
    pub token: SecretString,
}

impl Purpose {
    fn key(self, address: &AccountKey) -> RecordKey<OneTimeCode> {
        match self {
            Purpose::Verification => keys::verification(address),
            Purpose::PasswordReset => keys::password_reset(address),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Purpose::Verification => "verification",
            Purpose::PasswordReset => "password-reset",
        }
    }
}

/// Makes a code in the place of any earlier one. Without a grant nobody will be told it.
pub async fn issue(core: &Core, purpose: Purpose, address: &AccountKey, grant: Option<Grant>) -> Result<NewCode, StoreError> {
    let code = random_code(core.entropy.as_ref())?;
    let secret = Zeroizing::new(random::<SECRET_LEN>(core.entropy.as_ref())?);
    let bytes = Zeroizing::new([address.as_slice(), secret.as_slice()].concat());
    let token = SecretString::from(URL_SAFE_NO_PAD.encode(&*bytes));
    let ends = core.clock.now().checked_add(CODE_LIFE);
    let (tenant, password_hash) = grant.map(|grant| (grant.tenant, grant.password_hash)).unzip();
    let record = OneTimeCode {
        tenant,
        password_hash: password_hash.flatten(),
        code_hash: hash(core, purpose, "code", address, code.expose_secret().as_bytes()),
        token_hash: hash(core, purpose, "link", address, secret.as_slice()),
        tries: 0,
        expires_at: ends.map_err(|_| StoreError::Broken("the clock is beyond the end of time".into()))?,
    };
    let key = purpose.key(address);
    let replaced = core.store.read(&key).await?.map(|stored| stored.version);
    let mut change = Change::new();
    change.store(&key, &record, replaced, Some(CODE_LIFE))?;
    core.store.commit(change).await?;
    Ok(NewCode { code, token })
}

/// What the code grants, if it is right; then it is gone. A try is written down before the code is
/// looked at, so that tries at the same moment count as those in turn.
pub async fn redeem_code(
    core: &Core,
    purpose: Purpose,
    address: &AccountKey,
    code: &SecretString,
) -> Result<Option<Grant>, StoreError> {
    let Some(code) = digits(code) else { return Ok(None) };
    let given = hash(core, purpose, "code", address, code.as_bytes());
    let Some(counted) = count_try(core, &purpose.key(address)).await? else { return Ok(None) };
    if !is_same(&given, &counted.code_hash) {
        return Ok(None);
    }
    take(core, &purpose.key(address), &counted).await
}

/// As [`redeem_code`], by the link's token: nobody guesses that, so its tries are not counted.
pub async fn redeem_token(core: &Core, purpose: Purpose, token: &SecretString) -> Result<Option<Grant>, StoreError> {
    let Some((address, secret)) = parts(token) else { return Ok(None) };
    let key = purpose.key(&address);
    let Some(Stored { value: found, .. }) = core.store.read(&key).await? else { return Ok(None) };
    let given = hash(core, purpose, "link", &address, secret.as_slice());
    if !is_same(&given, &found.token_hash) || found.expires_at <= core.clock.now() {
        return Ok(None);
    }
    take(core, &key, &found).await
}

/// The record with one more try; `None` when there is none, it has ended, or the tries are used up.
async fn count_try(core: &Core, key: &RecordKey<OneTimeCode>) -> Result<Option<OneTimeCode>, StoreError> {
    // Whoever comes first counts one up; so each conflict brings the end nearer.
    for _ in 0..=TRIES_MAX {
        let Some(Stored { mut value, version }) = core.store.read(key).await? else { return Ok(None) };
        let left = value.expires_at.duration_since(core.clock.now()).unsigned_abs();
        if value.expires_at <= core.clock.now() || value.tries >= TRIES_MAX {
            return Ok(None);
        }
        value.tries += 1;
        let mut change = Change::new();
        change.replace(key, &value, version, Some(left))?;
        match core.store.commit(change).await {
            Ok(()) => return Ok(Some(value)),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Of many who know it one gets it. What was issued anew meanwhile is another code.
async fn take(core: &Core, key: &RecordKey<OneTimeCode>, known: &OneTimeCode) -> Result<Option<Grant>, StoreError> {
    let taken = core.store.take(key).await?;
    Ok(taken.filter(|taken| is_same(&taken.code_hash, &known.code_hash)).and_then(granted))
}

fn granted(code: OneTimeCode) -> Option<Grant> {
    let OneTimeCode { tenant, password_hash, .. } = code;
    tenant.map(|tenant| Grant { tenant, password_hash })
}

fn hash(core: &Core, purpose: Purpose, form: &str, address: &AccountKey, value: &[u8]) -> String {
    let bytes = Zeroizing::new([address.as_slice(), value].concat());
    hex::encode(core.store.lookup_hash(&format!("{}-{form}", purpose.label()), &bytes))
}

fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Six digits, each code as likely as any other.
fn random_code(entropy: &dyn Entropy) -> Result<SecretString, StoreError> {
    loop {
        let drawn = u32::from_be_bytes(random(entropy)?);
        if drawn < u32::MAX - u32::MAX % CODES {
            return Ok(SecretString::from(format!("{:0CODE_DIGITS$}", drawn % CODES)));
        }
    }
}

/// The code as people type it: spaces and dashes do not matter.
fn digits(code: &SecretString) -> Option<Zeroizing<String>> {
    let kept = code.expose_secret().chars().filter(|c| !c.is_whitespace() && *c != '-').take(CODE_DIGITS + 1);
    let kept = Zeroizing::new(kept.collect::<String>());
    (kept.len() == CODE_DIGITS && kept.bytes().all(|b| b.is_ascii_digit())).then_some(kept)
}

fn parts(token: &SecretString) -> Option<(AccountKey, Zeroizing<Vec<u8>>)> {
    let text = token.expose_secret();
    if text.len() > TOKEN_LEN * 2 {
        return None;
    }
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
    let (address, secret) = bytes.split_first_chunk()?;
    (secret.len() == SECRET_LEN).then(|| (*address, Zeroizing::new(secret.to_vec())))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::ports::entropy::EntropyError;

    /// Gives what it is told to give.
    struct Script(Mutex<Vec<u32>>);

    impl Entropy for Script {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            let next = self.0.lock().unwrap().pop().ok_or_else(|| EntropyError("the script has ended".into()))?;
            bytes.copy_from_slice(&next.to_be_bytes());
            Ok(())
        }
    }

    #[test]
    fn a_code_keeps_its_leading_zeros_and_no_code_is_likelier_than_another() {
        let code = |draws: &[u32]| {
            let script = Script(Mutex::new(draws.iter().rev().copied().collect()));
            random_code(&script).map(|code| code.expose_secret().to_owned())
        };
        assert_eq!(code(&[42]).unwrap(), "000042");
        assert_eq!(code(&[999_999]).unwrap(), "999999");
        assert_eq!(code(&[4_293_999_999]).unwrap(), "999999");
        assert_eq!(code(&[4_294_000_000, u32::MAX, 7]).unwrap(), "000007", "what is left over is drawn again");
        assert!(code(&[]).is_err(), "no randomness, no code");
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let read = |text: &str| digits(&text.into()).map(|digits| digits.to_string());
        for good in ["012345", " 012 345 ", "012-345", "0 1 2 3 4 5"] {
            assert_eq!(read(good).as_deref(), Some("012345"), "{good}");
        }
        for bad in ["", "01234", "0123456", "01234a", "٠١٢٣٤٥", "012345 6"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_has_exactly_its_length() {
        let read = |length: usize| parts(&URL_SAFE_NO_PAD.encode(vec![9; length]).into()).is_some();
        assert!(read(TOKEN_LEN));
        for length in [0, 1, 31, 32, TOKEN_LEN - 1, TOKEN_LEN + 1, 10_000] {
            assert!(!read(length), "{length}");
        }
        assert!(parts(&"not base64 at all!".into()).is_none());
    }
}
