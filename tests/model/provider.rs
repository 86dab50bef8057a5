//! The provider: families of refresh tokens, one family per consent, and what a use does to them. Where the access
//! token itself is extended, a family is of access tokens, each of which is good for another until it ends.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use claviger::domain::provider::{RefreshClass, RefreshWith};

use crate::records::LIFE;

/// How the provider really behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Nonrotating,
    /// The old token is refused, the family lives.
    Plain,
    /// The parent of the newest token is good for an hour, anything older kills the family.
    Grace,
    /// As above, for half a minute: less than a steal takes.
    ShortGrace,
    /// The parent is good for an hour; a superseded sibling is refused, the family lives.
    NewestOnly,
    /// Any old token kills the family.
    Strict,
    /// There is no refresh token: the access token is sent for the next one, while it lives.
    Extended,
}

impl Kind {
    pub const ALL: [Kind; 7] =
        [Kind::Nonrotating, Kind::Plain, Kind::Grace, Kind::ShortGrace, Kind::NewestOnly, Kind::Strict, Kind::Extended];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Nonrotating => "nonrotating",
            Kind::Plain => "plain",
            Kind::Grace => "grace, 1 h",
            Kind::ShortGrace => "grace, 30 s",
            Kind::NewestOnly => "newest only",
            Kind::Strict => "strict",
            Kind::Extended => "extended",
        }
    }

    pub fn window(self) -> u64 {
        match self {
            Kind::Grace | Kind::NewestOnly => 3_600_000,
            Kind::ShortGrace => 30_000,
            Kind::Nonrotating | Kind::Plain | Kind::Strict | Kind::Extended => 0,
        }
    }

    /// What the provider's file says.
    pub fn class(self) -> RefreshClass {
        match self {
            Kind::Nonrotating | Kind::Extended => RefreshClass::Nonrotating,
            Kind::Plain => RefreshClass::RotatePlain,
            Kind::Grace | Kind::NewestOnly | Kind::ShortGrace => RefreshClass::RotateGrace(Duration::from_millis(self.window())),
            Kind::Strict => RefreshClass::RotateStrict,
        }
    }

    pub fn with(self) -> RefreshWith {
        if self == Kind::Extended { RefreshWith::AccessToken } else { RefreshWith::RefreshToken }
    }
}

/// One consent's tokens: numbers, the highest of which is the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Family {
    pub current: u32,
    pub parent: u32,
    parent_until: u64,
    pub revoked: bool,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// What is sent next; `None`: the same refresh token as before.
    Tokens {
        refresh: Option<u32>,
        access: u32,
    },
    Refused,
    Throttled,
    ClientRefused,
    /// A gateway's error, whatever happened behind it.
    ServerError,
}

#[derive(Debug, Clone)]
pub struct Provider {
    pub kind: Kind,
    families: Vec<Family>,
    /// When which access token ends, where it is what is sent.
    ends: Vec<(u32, u64)>,
    /// Access tokens issued, of all families.
    pub issued: u32,
}

/// Token numbers tell their family.
const PER_FAMILY: u32 = 1000;

impl Provider {
    pub fn new(kind: Kind) -> Self {
        Self { kind, families: Vec::new(), ends: Vec::new(), issued: 0 }
    }

    /// A new consent, whose access token ends then; its first refresh token.
    pub fn consent(&mut self, end: u64) -> u32 {
        let first = self.families.len() as u32 * PER_FAMILY + 1;
        if self.kind == Kind::Extended {
            self.ends.push((first, end));
        }
        self.families.push(Family { current: first, parent: first - 1, parent_until: 0, revoked: false });
        first
    }

    pub fn family(&self, token: u32) -> &Family {
        &self.families[(token / PER_FAMILY) as usize]
    }

    pub fn revoke(&mut self, token: u32) {
        self.families[(token / PER_FAMILY) as usize].revoked = true;
    }

    /// Whether a use of this token would bring tokens.
    pub fn accepts(&self, token: u32, now: u64) -> bool {
        let family = self.family(token);
        if self.kind == Kind::Extended {
            return !family.revoked && self.ends.iter().any(|(other, end)| *other == token && now < *end);
        }
        !family.revoked && (token == family.current || (token == family.parent && now < family.parent_until))
    }

    /// The tokens of this one's family that would bring tokens.
    pub fn living(&self, token: u32, now: u64) -> impl Iterator<Item = u32> {
        let family = *self.family(token);
        let extended = self.ends.iter().map(|(token, _)| *token).filter(move |other| other / PER_FAMILY == token / PER_FAMILY);
        [family.current, family.parent]
            .into_iter()
            .filter(|_| self.kind != Kind::Extended)
            .chain(extended)
            .filter(move |token| self.accepts(*token, now))
    }

    pub fn refresh(&mut self, token: u32, now: u64) -> Answer {
        let (kind, accepted) = (self.kind, self.accepts(token, now));
        let family = &mut self.families[(token / PER_FAMILY) as usize];
        if !accepted {
            family.revoked |= matches!(kind, Kind::Grace | Kind::ShortGrace | Kind::Strict);
            return Answer::Refused;
        }
        self.issued += 1;
        if kind == Kind::Nonrotating {
            return Answer::Tokens { refresh: None, access: self.issued };
        }
        if kind == Kind::Extended {
            family.current += 1;
            self.ends.push((family.current, now + LIFE));
            return Answer::Tokens { refresh: Some(family.current), access: family.current };
        }
        if token == family.current {
            (family.parent, family.parent_until) = (token, now + kind.window());
        }
        // The numbers go on from the newest, whichever of the two was used.
        family.current = family.current.max(family.parent) + 1;
        Answer::Tokens { refresh: Some(family.current), access: self.issued }
    }
}

impl Hash for Provider {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.families, &self.ends).hash(state);
        self.issued.hash(state);
    }
}
