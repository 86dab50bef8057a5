//! What one end user has granted one integration, and the rules of its tokens: when one is fresh,
//! what a refresh makes of it, what a failure does. Pure: the time is handed in.

mod token_set;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use token_set::non_negative;
pub use token_set::{Freshness, LastError, Rotation, TokenSet, Tokens};

use super::due;
use super::ids::{Account, ConnectionId, EndUserId, GrantId, IntegrationId, IntegrationName, ProviderId, TenantId, TokenSetName};
use super::provider::RefreshWith;
use super::tokens::{FailureClass, IssuedTokens, TokenAnswer};

/// A refresh keeps at most so many superseded siblings of the current tokens.
pub const ALTERNATES_MAX: usize = 2;

/// The `grant` record: sealed whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connection {
    pub id: ConnectionId,
    pub tenant: TenantId,
    pub end_user: EndUserId,
    pub provider: ProviderId,
    pub integration: IntegrationName,
    pub integration_id: IntegrationId,
    pub account: Account,
    pub grant_id: GrantId,
    pub status: Status,
    pub confirmed: bool,
    pub sets: BTreeMap<TokenSetName, TokenSet>,
    /// What its tokens are refreshed with, as its provider's file said when it was made; `None`: with nothing.
    #[serde(default = "by_refresh_token")]
    pub renewal: Option<RefreshWith>,
    /// Scopes that were named for it alone; its integration's where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named_scopes: Vec<String>,
    /// Who connected, in the provider's words, where it says.
    pub subject: Option<String>,
    /// What the provider's file keeps of answers and callbacks; shown to the tenant.
    pub metadata: BTreeMap<String, Value>,
    /// The values of the provider's params with which this grant was made (`shop`, `subdomain`, …).
    pub params: BTreeMap<String, String>,
    pub connected_at: Timestamp,
    pub updated_at: Timestamp,
    /// When somebody last fetched a token of it, to the day.
    #[serde(default)]
    pub fetched_at: Option<Timestamp>,
}

/// Of records that do not say it.
fn by_refresh_token() -> Option<RefreshWith> {
    Some(RefreshWith::RefreshToken)
}

/// Where a connection stands (docs/refresh.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Status {
    Active,
    /// A refresh was sent and its answer is not known.
    InDoubt {
        since: Timestamp,
        reason: String,
    },
    /// The provider refuses the newest refresh token: the end user must consent again.
    NeedsReauth {
        since: Timestamp,
        reason: String,
    },
    Revoked {
        since: Timestamp,
    },
}

impl Status {
    pub fn as_str(&self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::InDoubt { .. } => "in_doubt",
            Status::NeedsReauth { .. } => "needs_reauth",
            Status::Revoked { .. } => "revoked",
        }
    }

    /// Why, since when, and what the tenant can do, where it is not active.
    pub fn explained(&self) -> Option<Explained<'_>> {
        let (reason, since, advice) = match self {
            Status::Active | Status::Revoked { .. } => return None,
            Status::InDoubt { since, reason } => (reason, since, IN_DOUBT_ADVICE),
            Status::NeedsReauth { since, reason } if reason == ENDED => (reason, since, ENDED_ADVICE),
            Status::NeedsReauth { since, reason } => (reason, since, NEEDS_REAUTH_ADVICE),
        };
        Some(Explained { reason, since: *since, advice })
    }
}

/// A status in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explained<'a> {
    /// A plain code.
    pub reason: &'a str,
    pub since: Timestamp,
    /// A sentence to the tenant.
    pub advice: &'static str,
}

/// Why a connection is over whose access token had to be extended while it lived.
pub const ENDED: &str = "access_token_ended";

const ENDED_ADVICE: &str =
    "This provider extends a token only while it lives, and this one has ended: send the end user through a new authorize link.";
const IN_DOUBT_ADVICE: &str = "Nothing has to be done now: the token is served while it lives, and the refresh is tried again when that \
                               can do no harm. If the provider then refuses, the end user must connect again.";
const NEEDS_REAUTH_ADVICE: &str =
    "The provider does not refresh this connection any more: send the end user through a new authorize link.";

impl Connection {
    /// Revoked and forgotten: what is stored is only a tombstone.
    pub fn is_gone(&self) -> bool {
        matches!(self.status, Status::Revoked { .. })
    }

    /// No refresh can help: gone, or its end user must consent anew.
    pub fn is_over(&self) -> bool {
        matches!(self.status, Status::NeedsReauth { .. } | Status::Revoked { .. })
    }

    /// The tombstone: ids alone, so that nothing in flight can revive what was revoked.
    pub fn buried(mut self, now: Timestamp) -> Self {
        self.status = Status::Revoked { since: now };
        self.sets.clear();
        self.metadata.clear();
        self.params.clear();
        self.subject = None;
        self.updated_at = now;
        self
    }

    pub fn set(&self, name: &TokenSetName) -> Option<&TokenSet> {
        self.sets.get(name)
    }

    /// Commit by generation (docs/refresh.md, step 5): a received token is never thrown away while its
    /// grant lives.
    pub fn rotated(
        mut self,
        grant: &GrantId,
        name: &TokenSetName,
        from: u64,
        received: Tokens,
        now: Timestamp,
    ) -> (Self, Rotation) {
        let Some(set) = self.sets.get_mut(name).filter(|_| self.grant_id == *grant) else {
            return (self, Rotation::OtherGrant);
        };
        let before = set.generation;
        let rotation = set.receive(from, received, now);
        if set.generation != before {
            set.due = due::first_look(&self.id, name, set, self.renewal);
        }
        // What one set's success proves says nothing about another set of the same consent.
        if rotation == Rotation::Advanced && !self.sets.values().any(TokenSet::is_doubtful) {
            self.status = Status::Active;
        }
        self.updated_at = now;
        (self, rotation)
    }

    /// Values that came with a refresh replace those of the same name (an instance URL may move).
    pub fn with_metadata(mut self, metadata: BTreeMap<String, Value>) -> Self {
        self.metadata.extend(metadata);
        self
    }

    /// The last refresh failed; the tokens stay as they are.
    pub fn refresh_failed(mut self, name: &TokenSetName, class: FailureClass, code: &str, now: Timestamp) -> Self {
        if let Some(set) = self.sets.get_mut(name) {
            set.last_error = Some(LastError { at: now, code: code.to_owned(), class: Some(class), retry_at: None });
        }
        self.updated_at = now;
        self
    }

    /// When the refresh that failed is tried again at the earliest.
    pub fn retried_at(mut self, name: &TokenSetName, retry_at: Option<Timestamp>) -> Self {
        if let Some(error) = self.sets.get_mut(name).and_then(|set| set.last_error.as_mut()) {
            error.retry_at = retry_at;
        }
        self
    }

    pub fn in_doubt(mut self, reason: &str, now: Timestamp) -> Self {
        if matches!(self.status, Status::Active) {
            self.status = Status::InDoubt { since: now, reason: reason.to_owned() };
        }
        self
    }

    pub fn needs_reauth(mut self, reason: &str, now: Timestamp) -> Self {
        if !matches!(self.status, Status::NeedsReauth { .. } | Status::Revoked { .. }) {
            self.status = Status::NeedsReauth { since: now, reason: reason.to_owned() };
            self.sets.values_mut().for_each(|set| set.due = None);
        }
        self
    }

    /// When this set is looked at next though nobody asks.
    pub fn due_at(mut self, name: &TokenSetName, due: Option<Timestamp>) -> Self {
        if let Some(set) = self.sets.get_mut(name) {
            set.due = due;
        }
        self
    }

    /// A token was fetched. What an older version wrote is put in order on the way: it knows no due times.
    pub fn fetched(mut self, now: Timestamp) -> Self {
        self.fetched_at = Some(now);
        let over = matches!(self.status, Status::NeedsReauth { .. } | Status::Revoked { .. });
        for (name, set) in self.sets.iter_mut().filter(|(_, set)| !over && set.due.is_none()) {
            set.due = due::first_look(&self.id, name, set, self.renewal);
        }
        self
    }

    pub fn was_fetched_within(&self, span: Duration, now: Timestamp) -> bool {
        self.fetched_at.is_some_and(|at| non_negative(now.duration_since(at)) < span)
    }
}

/// Everything a new consent is made of, apart from the provider's answer.
#[derive(Debug, Clone)]
pub struct NewConnection {
    pub tenant: TenantId,
    pub end_user: EndUserId,
    pub provider: ProviderId,
    pub integration: IntegrationName,
    pub integration_id: IntegrationId,
    pub account: Account,
    pub grant_id: GrantId,
    pub confirmed: bool,
    pub params: BTreeMap<String, String>,
    /// Asked for; stands in where the answer does not say what was granted.
    pub asked_scopes: Vec<String>,
    /// Named for this connection alone.
    pub named_scopes: Vec<String>,
    /// What its tokens are refreshed with.
    pub renewal: Option<RefreshWith>,
    pub received_by: String,
}

impl Connection {
    /// A fresh consent. `before` is the connection it replaces, whose refresh token is kept where
    /// the same account consents again and the provider sends none (Google on a second consent). An
    /// account that is not known is not the same: two people's tokens must not be mixed.
    pub fn established(
        new: NewConnection,
        answer: TokenAnswer,
        before: Option<&Connection>,
        obtained_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        let same_account = before.filter(|old| old.subject.is_some() && old.subject == answer.subject && !old.is_gone());
        let sets = answer.sets.into_iter().map(|(name, issued)| {
            let old = same_account.and_then(|old| old.set(&name));
            let asked = new.asked_scopes.clone();
            let scopes = issued.scopes.clone().unwrap_or(asked);
            let mut tokens = Tokens::issued(IssuedTokens { scopes: Some(scopes), ..issued }, old, obtained_at, &new.received_by);
            tokens.from_generation = 0;
            (name, TokenSet::first(tokens))
        });
        let id = ConnectionId::derive(&new.tenant, &new.end_user, &new.integration_id, &new.account);
        let sets = sets.map(|(name, set)| {
            let due = due::first_look(&id, &name, &set, new.renewal);
            (name, TokenSet { due, ..set })
        });
        Self {
            sets: sets.collect(),
            renewal: new.renewal,
            named_scopes: new.named_scopes,
            id,
            tenant: new.tenant,
            end_user: new.end_user,
            provider: new.provider,
            integration: new.integration,
            integration_id: new.integration_id,
            account: new.account,
            grant_id: new.grant_id,
            status: Status::Active,
            confirmed: new.confirmed,
            subject: answer.subject,
            metadata: answer.metadata,
            params: new.params,
            connected_at: now,
            updated_at: now,
            fetched_at: Some(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::ExposeSecret as _;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn tokens(name: &str, obtained: i64, life: Option<i64>) -> Tokens {
        Tokens {
            access: format!("at-{name}").into(),
            refresh: Some(format!("rt-{name}").into()),
            secret: None,
            token_type: "Bearer".into(),
            obtained_at: at(obtained),
            expires_at: life.map(|life| at(obtained + life)),
            refresh_expires_at: None,
            scopes: vec!["read".into()],
            from_generation: 0,
            received_by: "n".into(),
        }
    }

    fn name(set: &str) -> TokenSetName {
        TokenSetName::parse(set).unwrap()
    }

    fn issued(access: &str, refresh: Option<&str>) -> IssuedTokens {
        IssuedTokens {
            access_token: access.into(),
            refresh_token: refresh.map(Into::into),
            token_secret: None,
            token_type: "Bearer".into(),
            expires_at: None,
            refresh_expires_at: None,
            scopes: None,
        }
    }

    fn consent(grant: u8, subject: Option<&str>, refresh: Option<&str>, before: Option<&Connection>) -> Connection {
        let (tenant, provider) = (TenantId::from_uuid(uuid::Uuid::from_u128(1)), ProviderId::parse("acme").unwrap());
        let integration = IntegrationName::of_provider(&provider);
        let new = NewConnection {
            integration_id: IntegrationId::derive(&tenant, &provider, &integration),
            tenant,
            end_user: EndUserId::parse("u").unwrap(),
            provider,
            integration,
            account: Account::default_account(),
            grant_id: GrantId::from_random([grant; 16]),
            confirmed: true,
            params: BTreeMap::new(),
            asked_scopes: vec!["read".into()],
            named_scopes: Vec::new(),
            renewal: by_refresh_token(),
            received_by: "n".into(),
        };
        let sets = ["bot", "user"].map(|set| (name(set), issued(&format!("at-{set}-{grant}"), refresh))).into();
        let answer = TokenAnswer { sets, metadata: BTreeMap::new(), subject: subject.map(str::to_owned) };
        Connection::established(new, answer, before, at(0), at(0))
    }

    fn refresh_of(connection: &Connection, set: &str) -> Option<String> {
        connection.set(&name(set)).unwrap().current.refresh.as_ref().map(|token| token.expose_secret().to_owned())
    }

    fn access(tokens: &Tokens) -> &str {
        tokens.access.expose_secret()
    }

    /// docs/refresh.md, step 0, for every second of lives of every order: stale from the floor, ageing from
    /// the soft mark, and never ageing in the first half.
    #[test]
    fn a_token_ages_at_the_marks_and_at_no_other_second() {
        for (life, floor, soft) in [
            (20, 1, 10),
            (60, 3, 30),
            (100, 5, 50),
            (240, 12, 120),
            (600, 30, 120),
            (1200, 60, 120),
            (1300, 60, 130),
            (3600, 60, 360),
        ] {
            let tokens = tokens("a", 1_000, Some(life));
            assert_eq!((tokens.floor().as_secs(), tokens.soft().as_secs()), (floor, soft), "{life}");
            for age in -5..=life + 5 {
                let left = u64::try_from(life - age).unwrap_or(0);
                let expected = match left {
                    left if left <= floor => Freshness::Stale,
                    left if left <= soft => Freshness::Ageing,
                    _ => Freshness::Fresh,
                };
                assert_eq!(tokens.freshness(at(1_000 + age)), expected, "{age} of {life}");
                assert_eq!(tokens.is_alive(at(1_000 + age)), age < life, "{age} of {life}");
            }
        }
        let endless = tokens("a", 0, None);
        assert_eq!(endless.freshness(at(4_000_000_000)), Freshness::Fresh);
        assert_eq!(tokens("a", 0, Some(0)).freshness(at(0)), Freshness::Stale);
    }

    #[test]
    fn a_refresh_advances_its_own_set_and_no_other() {
        let before = consent(1, None, Some("r"), None);
        let grant = before.grant_id.clone();
        let (after, rotation) = before.rotated(&grant, &name("bot"), 1, tokens("b2", 10, None), at(11));
        let (bot, user) = (after.set(&name("bot")).unwrap(), after.set(&name("user")).unwrap());
        assert_eq!((rotation, bot.generation, user.generation), (Rotation::Advanced, 2, 1));
        assert_eq!((access(&bot.current), bot.current.from_generation), ("at-b2", 1));
        assert_eq!((bot.last_refreshed_at, access(&user.current)), (Some(at(11)), "at-user-1"));
    }

    #[test]
    fn tokens_of_another_consent_or_for_a_tombstone_are_not_stored() {
        let connection = consent(1, None, Some("r"), None);
        let (grant, other) = (connection.grant_id.clone(), GrantId::from_random([2; 16]));
        let (same, rotation) = connection.clone().rotated(&other, &name("bot"), 1, tokens("x", 10, None), at(11));
        assert_eq!((rotation, access(&same.set(&name("bot")).unwrap().current)), (Rotation::OtherGrant, "at-bot-1"));
        let buried = connection.buried(at(5));
        let (buried, rotation) = buried.rotated(&grant, &name("bot"), 1, tokens("x", 10, None), at(11));
        assert!(rotation == Rotation::OtherGrant && buried.is_gone() && buried.sets.is_empty());
    }

    /// I2 and I8: two answers to the same question are both kept, whichever comes first; the later
    /// request's leads; all name the generation they came from.
    #[test]
    fn of_two_receipts_of_one_line_none_is_lost() {
        for order in [[10, 20], [20, 10]] {
            let mut set = TokenSet::first(tokens("1", 0, None));
            assert_eq!(set.receive(1, tokens(&order[0].to_string(), order[0], None), at(30)), Rotation::Advanced);
            let generation = set.generation;
            assert_eq!(set.receive(1, tokens(&order[1].to_string(), order[1], None), at(40)), Rotation::KeptAside);
            assert_eq!((access(&set.current), access(&set.alternates[0])), ("at-20", "at-10"), "{order:?}");
            assert_eq!((set.current.from_generation, set.alternates[0].from_generation), (1, 1), "{order:?}");
            assert_eq!(set.generation > generation, order == [10, 20], "a new token in front is a new generation");
        }
    }

    /// Where the line has gone on, a late receipt of an older generation is its parent, or a dead sibling of that: kept
    /// aside it would be sent when the current token is refused, and reuse ends families.
    #[test]
    fn a_receipt_of_a_generation_that_went_on_is_not_kept() {
        let mut set = TokenSet::first(tokens("1", 0, None));
        set.receive(1, tokens("2", 10, None), at(10));
        set.receive(2, tokens("3", 20, None), at(20));
        for late in [tokens("2", 10, None), tokens("late", 99, None)] {
            assert_eq!(set.receive(1, late, at(99)), Rotation::Known);
        }
        assert_eq!((access(&set.current), set.generation, set.alternates.len()), ("at-3", 3, 0));
    }

    /// As many siblings as are kept, the newest first; all go when a child is stored.
    #[test]
    fn siblings_are_kept_until_a_child_is_stored() {
        let mut set = TokenSet::first(tokens("1", 0, None));
        set.receive(1, tokens("2", 90, None), at(90));
        for (late, obtained) in [("a", 10), ("b", 20), ("c", 30)] {
            assert_eq!(set.receive(1, tokens(late, obtained, None), at(99)), Rotation::KeptAside);
        }
        assert_eq!((access(&set.current), set.generation), ("at-2", 2));
        assert_eq!(set.alternates.iter().map(access).collect::<Vec<_>>(), ["at-c", "at-b"]);
        assert_eq!(set.alternates.len(), ALTERNATES_MAX);
        assert_eq!(set.receive(2, tokens("4", 100, None), at(100)), Rotation::Advanced);
        assert!(set.alternates.is_empty(), "its child is stored");
    }

    /// A commit whose answer was lost is tried again: nothing is doubled.
    #[test]
    fn the_same_receipt_twice_changes_nothing() {
        let mut set = TokenSet::first(tokens("1", 0, None));
        set.receive(1, tokens("2", 10, None), at(10));
        set.receive(1, tokens("aside", 5, None), at(10));
        for again in [tokens("2", 10, None), tokens("aside", 5, None)] {
            assert_eq!(set.receive(1, again, at(20)), Rotation::Known);
        }
        assert_eq!((set.generation, set.alternates.len(), set.last_refreshed_at), (2, 1, Some(at(10))));
    }

    /// After a failover to a store that lags behind, what was received is the newest there is.
    #[test]
    fn a_store_that_fell_back_is_led_forward() {
        let mut set = TokenSet::first(tokens("1", 0, None));
        assert_eq!(set.receive(3, tokens("4", 30, None), at(30)), Rotation::Advanced);
        assert_eq!((set.generation, access(&set.current), set.current.from_generation), (4, "at-4", 3));
    }

    /// I14: the bot's success does not prove that the user's grant lives.
    #[test]
    fn one_sets_success_says_nothing_of_the_other() {
        let fresh = consent(1, None, Some("r"), None);
        let grant = fresh.grant_id.clone();
        let rotated = |connection: Connection, set: &str| {
            let from = connection.set(&name(set)).unwrap().generation;
            connection.rotated(&grant, &name(set), from, tokens(&format!("{set}{from}"), 10, None), at(11)).0
        };
        let doubtful =
            fresh.clone().refresh_failed(&name("user"), FailureClass::InDoubt, "no_answer", at(5)).in_doubt("no_answer", at(5));
        let other = rotated(doubtful.clone(), "bot");
        assert_eq!(other.status.as_str(), "in_doubt");
        assert_eq!(rotated(other, "user").status, Status::Active);
        assert_eq!(rotated(rotated(doubtful, "user"), "bot").status, Status::Active);
        // A throttle of the other set leaves nothing in doubt.
        let throttled = fresh.refresh_failed(&name("user"), FailureClass::Throttled, "slow_down", at(5));
        assert_eq!(rotated(throttled.in_doubt("no_answer", at(6)), "bot").status, Status::Active);
    }

    #[test]
    fn an_answer_without_a_refresh_token_keeps_the_old_one_and_its_end() {
        let old = Tokens { refresh_expires_at: Some(at(900)), ..tokens("1", 0, None) };
        let set = TokenSet::first(old);
        let kept = Tokens::issued(issued("at-2", None), Some(&set), at(10), "n");
        assert_eq!((kept.refresh.as_ref().unwrap().expose_secret(), kept.refresh_expires_at), ("rt-1", Some(at(900))));
        assert_eq!(kept.scopes, ["read"]);
        let replaced = Tokens::issued(issued("at-2", Some("rt-2")), Some(&set), at(10), "n");
        assert_eq!((replaced.refresh.as_ref().unwrap().expose_secret(), replaced.refresh_expires_at), ("rt-2", None));
    }

    /// Only a consent of the account that is known to be the same takes over what was left out.
    #[test]
    fn a_new_consent_keeps_a_refresh_token_of_its_own_account_alone() {
        for (before, now, kept) in [
            (Some("ada"), Some("ada"), true),
            (Some("ada"), Some("eve"), false),
            (Some("ada"), None, false),
            (None, Some("ada"), false),
            (None, None, false),
        ] {
            let old = consent(1, before, Some("rt-old"), None);
            let new = consent(2, now, None, Some(&old));
            assert_eq!(refresh_of(&new, "bot").is_some(), kept, "{before:?} {now:?}");
            let own = consent(2, now, Some("rt-new"), Some(&old));
            assert_eq!(refresh_of(&own, "user").as_deref(), Some("rt-new"));
            let set = own.set(&name("bot")).unwrap();
            assert_eq!((set.generation, set.current.from_generation, &own.status), (1, 0, &Status::Active));
        }
        let buried = consent(1, Some("ada"), Some("rt-old"), None).buried(at(1));
        assert_eq!(refresh_of(&consent(2, Some("ada"), None, Some(&buried)), "bot"), None);
    }

    #[test]
    fn a_status_falls_and_does_not_climb_by_itself() {
        let fresh = consent(1, None, Some("r"), None);
        let over = fresh.clone().needs_reauth("invalid_grant", at(1));
        assert_eq!(over.clone().in_doubt("no_answer", at(2)).status, over.status);
        assert_eq!(over.clone().needs_reauth("again", at(3)).status, over.status, "the first reason stands");
        let buried = fresh.buried(at(4));
        assert_eq!(buried.clone().needs_reauth("x", at(5)).in_doubt("x", at(5)).status, buried.status);
    }
}
