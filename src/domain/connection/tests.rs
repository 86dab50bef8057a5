//! When tokens are fresh, what a refresh and a new consent make of them, and how a status falls.

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
        lifetime: Lifetime::Named,
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

/// docs/refresh.md, "When", for every second of lives of every order: stale from the floor, ageing from
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

/// Told once, when the end user connected: later tokens whose answer does not say how long they live have that life, those
/// whose answer does have what it says; and the same account's next consent keeps it where it is not told anew.
#[test]
fn a_life_that_was_measured_holds_until_an_answer_says_another() {
    let assumed = || IssuedTokens { lifetime: Lifetime::Assumed, expires_at: Some(at(7_200)), ..issued("a", Some("r")) };
    let mut first = assumed();
    first.measured(Duration::from_secs(900), at(0));
    let mut set =
        TokenSet { measured_life: Some(Duration::from_secs(900)), ..TokenSet::first(Tokens::issued(first, None, at(0), "n")) };
    assert_eq!(set.current.expires_at, Some(at(900)));
    let next = Tokens::issued(assumed(), Some(&set), at(800), "n");
    assert_eq!(next.expires_at, Some(at(1_700)));
    set.receive(1, next, at(801));
    assert_eq!(set.measured_life, Some(Duration::from_secs(900)));
    let named = IssuedTokens { lifetime: Lifetime::Named, expires_at: Some(at(5_000)), ..assumed() };
    assert_eq!(Tokens::issued(named, Some(&set), at(1_600), "n").expires_at, Some(at(5_000)));
    let unending = IssuedTokens { lifetime: Lifetime::Named, expires_at: None, ..assumed() };
    assert_eq!(Tokens::issued(unending, Some(&set), at(1_600), "n").expires_at, None);
    // The provider did not tell this time.
    let mut old = consent(1, Some("ada"), Some("r"), None);
    old.sets.values_mut().for_each(|set| set.measured_life = Some(Duration::from_secs(900)));
    let measured = |subject| consent(2, Some(subject), Some("r"), Some(&old)).sets.into_values().next().unwrap().measured_life;
    assert_eq!((measured("ada"), measured("grace")), (Some(Duration::from_secs(900)), None));
}
