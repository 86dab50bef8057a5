//! How often somebody may try: by network, by account, and in all. Nobody is locked out for good;
//! whoever waits may go on.
//!
//! The counters are this process's own and bounded in number. A node that restarts forgets them.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use moka::future::Cache;

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;
use crate::ports::clock::Clock;

/// Counters of one kind at most; whoever needs another must wait until one is free.
const COUNTERS_MAX: usize = 250_000;
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Networks remembered as an account's own.
const FAMILIAR_MAX: u64 = 100_000;

/// So many at once, and then so many an hour.
#[derive(Debug, Clone, Copy)]
struct Rule {
    burst: u32,
    per_hour: u32,
}

/// Passwords that are tried. Fewer an hour from one network than an account bears, so that one
/// network alone cannot use up what an account's owner has elsewhere.
const SIGN_IN_NETWORK: Rule = Rule { burst: 50, per_hour: 1800 };
const SIGN_IN_ACCOUNT_AND_NETWORK: Rule = Rule { burst: 10, per_hour: 60 };
const SIGN_IN_ACCOUNT: Rule = Rule { burst: 50, per_hour: 240 };
const SIGN_IN_ALL: Rule = Rule { burst: 200, per_hour: 72_000 };
/// Mails that are asked for.
const MAIL_NETWORK: Rule = Rule { burst: 20, per_hour: 60 };
const MAIL_ADDRESS: Rule = Rule { burst: 5, per_hour: 6 };
const MAIL_ALL: Rule = Rule { burst: 300, per_hour: 18_000 };
/// Mailed codes that are tried: 24 a day for one account, in a million. The mailed link is not
/// counted by account, so that nobody can keep an owner out by trying.
const CODE_NETWORK: Rule = Rule { burst: 60, per_hour: 360 };
const CODE_ACCOUNT: Rule = Rule { burst: 15, per_hour: 1 };

/// An account as the limits know it: the hash of its address, whether or not there is one.
pub type AccountKey = [u8; 32];

pub struct Limits {
    sign_in_network: Limit<IpAddr>,
    sign_in_account_and_network: Limit<(AccountKey, IpAddr)>,
    sign_in_account: Limit<AccountKey>,
    sign_in_all: Limit<()>,
    mail_network: Limit<IpAddr>,
    mail_address: Limit<AccountKey>,
    mail_all: Limit<()>,
    code_network: Limit<IpAddr>,
    code_account: Limit<AccountKey>,
    /// From where the right password came before.
    familiar: Cache<(AccountKey, IpAddr), ()>,
}

impl Limits {
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            sign_in_network: Limit::new(SIGN_IN_NETWORK, clock),
            sign_in_account_and_network: Limit::new(SIGN_IN_ACCOUNT_AND_NETWORK, clock),
            sign_in_account: Limit::new(SIGN_IN_ACCOUNT, clock),
            sign_in_all: Limit::new(SIGN_IN_ALL, clock),
            mail_network: Limit::new(MAIL_NETWORK, clock),
            mail_address: Limit::new(MAIL_ADDRESS, clock),
            mail_all: Limit::new(MAIL_ALL, clock),
            code_network: Limit::new(CODE_NETWORK, clock),
            code_account: Limit::new(CODE_ACCOUNT, clock),
            familiar: Cache::new(FAMILIAR_MAX),
        }
    }

    /// Before a password is tried. An owner who signed in from this network before does not share
    /// the account's budget with strangers.
    pub fn sign_in(&self, from: Option<IpAddr>, account: &AccountKey) -> Result<(), Refusal> {
        let network = network_of(from);
        self.sign_in_network.check(&network)?;
        self.sign_in_account_and_network.check(&(*account, network))?;
        if !self.familiar.contains_key(&(*account, network)) {
            self.sign_in_account.check(account)?;
        }
        self.sign_in_all.check(&())
    }

    pub async fn signed_in(&self, from: Option<IpAddr>, account: &AccountKey) {
        self.familiar.insert((*account, network_of(from)), ()).await;
    }

    /// Before a mail is queued. The same for an address without an account.
    pub fn mail(&self, from: Option<IpAddr>, address: &AccountKey) -> Result<(), Refusal> {
        self.mail_network.check(&network_of(from))?;
        self.mail_address.check(address)?;
        self.mail_all.check(&())
    }

    /// Before a mailed code is tried.
    pub fn code(&self, from: Option<IpAddr>, account: &AccountKey) -> Result<(), Refusal> {
        self.code_network.check(&network_of(from))?;
        self.code_account.check(account)
    }

    /// Before a mailed link's token is tried.
    pub fn token(&self, from: Option<IpAddr>) -> Result<(), Refusal> {
        self.code_network.check(&network_of(from))
    }
}

/// What one party has for itself: an IPv4 address, or a /64 of IPv6.
fn network_of(from: Option<IpAddr>) -> IpAddr {
    match from.map(|ip| ip.to_canonical()) {
        None => Ipv4Addr::UNSPECIFIED.into(),
        Some(IpAddr::V4(ip)) => ip.into(),
        Some(IpAddr::V6(ip)) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// The clock of the port as governor wants it.
#[derive(Clone)]
struct Monotonic(Arc<dyn Clock>);

impl governor::clock::Clock for Monotonic {
    type Instant = Duration;
    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

struct Limit<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, Monotonic, NoOpMiddleware<Duration>>,
    clock: Monotonic,
    /// Seconds of the monotonic clock.
    swept: AtomicU64,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(rule: Rule, clock: &Arc<dyn Clock>) -> Self {
        let clock = Monotonic(clock.clone());
        let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_hour(at_least_one(rule.per_hour)).allow_burst(at_least_one(rule.burst));
        Self { limiter: RateLimiter::dashmap_with_clock(quota, clock.clone()), clock, swept: AtomicU64::new(0) }
    }

    fn check(&self, key: &K) -> Result<(), Refusal> {
        let now = self.clock.0.monotonic();
        self.sweep(now);
        if self.limiter.len() >= COUNTERS_MAX {
            return Err(too_many(SWEEP_EVERY));
        }
        self.limiter.check_key(key).map_err(|until| too_many(until.wait_time_from(now)))
    }

    /// Forgets counters that are full again.
    fn sweep(&self, now: Duration) {
        let swept = self.swept.load(Ordering::Relaxed);
        let due = now.as_secs().saturating_sub(swept) >= SWEEP_EVERY.as_secs();
        if due && self.swept.compare_exchange(swept, now.as_secs(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.limiter.retain_recent();
        }
    }
}

fn too_many(wait: Duration) -> Refusal {
    let seconds = wait.as_secs_f64().ceil().max(1.0);
    Refusal::new(ErrorCode::RateLimited, format!("Too many attempts; try again in {seconds} seconds."))
        .with_retry_after(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct StillClock(Mutex<Duration>);

    #[async_trait::async_trait]
    impl Clock for StillClock {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }
        fn monotonic(&self) -> Duration {
            *self.0.lock().unwrap()
        }
        async fn sleep(&self, _: Duration) {}
    }

    fn clock() -> (Arc<StillClock>, Arc<dyn Clock>) {
        let clock = Arc::new(StillClock(Mutex::new(Duration::from_secs(5))));
        (clock.clone(), clock)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// How many of many tries get through.
    fn admitted(mut attempt: impl FnMut() -> Result<(), Refusal>) -> u32 {
        (0..500).map(|_| u32::from(attempt().is_ok())).sum()
    }

    #[test]
    fn a_network_is_an_ipv4_address_or_a_64_of_ipv6() {
        let same = [("10.0.0.1", "::ffff:10.0.0.1"), ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff")];
        assert!(same.iter().all(|(one, other)| network_of(ip(one)) == network_of(ip(other))));
        let different = [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8:0:1::1")];
        assert!(different.iter().all(|(one, other)| network_of(ip(one)) != network_of(ip(other))));
    }

    #[test]
    fn one_network_gets_its_burst_and_then_what_the_rule_gives_back() {
        let (still, clock) = clock();
        let limits = Limits::new(&clock);
        let rule = SIGN_IN_ACCOUNT_AND_NETWORK;
        assert_eq!(admitted(|| limits.sign_in(ip("10.0.0.1"), &[1; 32])), rule.burst);
        *still.0.lock().unwrap() += Duration::from_secs(3600 / u64::from(rule.per_hour));
        assert_eq!(admitted(|| limits.sign_in(ip("10.0.0.1"), &[1; 32])), 1);
        *still.0.lock().unwrap() += Duration::from_secs(86_400);
        assert_eq!(admitted(|| limits.sign_in(ip("10.0.0.1"), &[1; 32])), rule.burst, "a day later all is well");
    }

    #[tokio::test]
    async fn many_networks_share_what_the_account_bears_and_its_owner_goes_on() {
        let (_, clock) = clock();
        let limits = Limits::new(&clock);
        limits.signed_in(ip("192.0.2.1"), &[1; 32]).await;
        let mut last = 0;
        let stranger = || {
            last += 1;
            limits.sign_in(Some(Ipv4Addr::from_bits(0x0a00_0000 + last).into()), &[1; 32])
        };
        assert_eq!(admitted(stranger), SIGN_IN_ACCOUNT.burst);
        assert!(limits.sign_in(ip("192.0.2.1"), &[1; 32]).is_ok(), "from where the owner signed in before");
        assert!(limits.sign_in(ip("198.51.100.1"), &[2; 32]).is_ok(), "another account");
    }

    #[test]
    fn one_network_alone_cannot_use_up_an_account() {
        const { assert!(SIGN_IN_ACCOUNT_AND_NETWORK.burst < SIGN_IN_ACCOUNT.burst) };
        const { assert!(SIGN_IN_ACCOUNT_AND_NETWORK.per_hour < SIGN_IN_ACCOUNT.per_hour) };
    }

    #[test]
    fn codes_are_counted_by_account_and_links_are_not() {
        let (_, clock) = clock();
        let limits = Limits::new(&clock);
        assert_eq!(admitted(|| limits.code(ip("10.0.0.1"), &[1; 32])), CODE_ACCOUNT.burst);
        assert!(limits.token(ip("10.0.0.2")).is_ok());
    }

    #[test]
    fn counters_are_swept_when_they_are_full_again() {
        let (still, clock) = clock();
        let limit = Limit::<u32>::new(Rule { burst: 2, per_hour: 3600 }, &clock);
        (0..1000).for_each(|key| assert!(limit.check(&key).is_ok()));
        assert_eq!(limit.limiter.len(), 1000);
        *still.0.lock().unwrap() += SWEEP_EVERY;
        assert!(limit.check(&0).is_ok());
        assert_eq!(limit.limiter.len(), 1);
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let refusal = too_many(Duration::from_millis(1500));
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(2)));
        assert!(refusal.detail.contains("2 seconds"), "{}", refusal.detail);
    }
}
