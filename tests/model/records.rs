//! Records as the model's nodes find and write them: one tenant, one connection, one token set.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;

use claviger::domain::connection::{Connection, NewConnection, Tokens};
use claviger::domain::flight::Flight;
use claviger::domain::ids::{Account, EndUserId, GrantId, IntegrationId, IntegrationName, ProviderId, TenantId, TokenSetName};
use claviger::domain::provider::RefreshWith;
use claviger::domain::secret::ExposeSecret as _;
use claviger::domain::tokens::{IssuedTokens, Lifetime, TokenAnswer};

/// Access tokens live so long, in milliseconds; their floor is 50 seconds.
pub const LIFE: u64 = 1_000_000;
/// How old the first access token is: past its soft mark, with two minutes to live.
pub const DUE: u64 = 880_000;
const BEGIN: i64 = 1_800_000_000_000;

/// Everything that never changes, made once.
pub struct Fixed {
    pub set: TokenSetName,
    grants: Vec<GrantId>,
    template: Connection,
    pub names: [String; 2],
}

pub static FIXED: LazyLock<Fixed> = LazyLock::new(|| Fixed {
    set: TokenSetName::default_set(),
    grants: (0..=u8::MAX).map(|n| GrantId::from_random([n; 16])).collect(),
    template: template(),
    names: ["n0".to_owned(), "n1".to_owned()],
});

pub fn grant(n: u8) -> GrantId {
    FIXED.grants[usize::from(n)].clone()
}

/// The model's clock, as a node's wall clock shows it.
pub fn wall(now: u64, skew: i64) -> Timestamp {
    Timestamp::from_millisecond(BEGIN + now as i64 + skew).unwrap()
}

pub fn flight() -> Flight {
    Flight { generation: 1, ..Flight::default() }
}

/// A consent whose tokens were obtained `age` ago.
pub fn connection(grant_no: u8, with: RefreshWith, token: u32, age: u64) -> Connection {
    at(grant_no, with, token, 0, age)
}

pub fn at(grant_no: u8, with: RefreshWith, token: u32, now: u64, age: u64) -> Connection {
    let mut connection = FIXED.template.clone();
    connection.grant_id = grant(grant_no);
    connection.renewal = Some(with);
    let set = connection.sets.get_mut(&FIXED.set).unwrap();
    let tokens = &mut set.current;
    match with {
        RefreshWith::AccessToken => (tokens.access, tokens.refresh) = (token.to_string().into(), None),
        _ => (tokens.access, tokens.refresh) = (format!("first-{grant_no}").into(), Some(token.to_string().into())),
    }
    tokens.obtained_at = wall(now, -(age as i64));
    tokens.expires_at = Some(wall(now + LIFE, -(age as i64)));
    connection
}

/// A provider's answer, as the parser understands it.
pub fn answer(with: RefreshWith, access: u32, refresh: Option<u32>, started: Timestamp) -> TokenAnswer {
    let refresh = refresh.filter(|_| with == RefreshWith::RefreshToken);
    let issued = IssuedTokens {
        access_token: access.to_string().into(),
        refresh_token: refresh.map(|token| token.to_string().into()),
        token_secret: None,
        token_type: String::new(),
        expires_at: Some(Timestamp::from_millisecond(started.as_millisecond() + LIFE as i64).unwrap()),
        lifetime: Lifetime::Named,
        refresh_expires_at: None,
        scopes: None,
    };
    TokenAnswer { sets: BTreeMap::from([(FIXED.set.clone(), issued)]), metadata: BTreeMap::new(), subject: None }
}

/// The number of what is sent: of the refresh token, or else of the access token.
pub fn number(tokens: &Tokens) -> u32 {
    let sent = tokens.refresh.as_ref().unwrap_or(&tokens.access);
    sent.expose_secret().parse().expect("the model's tokens are numbers")
}

/// How long the access token still lives, by its provider's word and not by what a record says.
pub fn left(tokens: &Tokens, now: Timestamp) -> Duration {
    let age = Duration::try_from(now.duration_since(tokens.obtained_at)).unwrap_or_default();
    Duration::from_millis(LIFE).saturating_sub(age)
}

fn template() -> Connection {
    let tenant = TenantId::parse("tnt_00000000000000000000000000000001").unwrap();
    let provider = ProviderId::parse("acme").unwrap();
    let integration = IntegrationName::of_provider(&provider);
    let new = NewConnection {
        integration_id: IntegrationId::derive(&tenant, &provider, &integration),
        tenant,
        end_user: EndUserId::parse("u").unwrap(),
        provider,
        integration,
        account: Account::default_account(),
        grant_id: GrantId::from_random([0; 16]),
        confirmed: true,
        params: BTreeMap::new(),
        asked_scopes: Vec::new(),
        named_scopes: Vec::new(),
        renewal: Some(RefreshWith::RefreshToken),
        received_by: "n0".to_owned(),
    };
    let begin = Timestamp::from_millisecond(BEGIN).unwrap();
    let issued = IssuedTokens {
        access_token: "first".into(),
        refresh_token: Some("1".into()),
        token_secret: None,
        token_type: String::new(),
        expires_at: Some(begin),
        lifetime: Lifetime::Named,
        refresh_expires_at: None,
        scopes: None,
    };
    let sets = BTreeMap::from([(TokenSetName::default_set(), issued)]);
    let answer = TokenAnswer { sets, metadata: BTreeMap::new(), subject: None };
    Connection::established(new, answer, None, begin, begin)
}
