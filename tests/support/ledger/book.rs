//! The books: which grant has which tokens, and what showing one does. Pure; the time is handed in.

use std::collections::HashMap;
use std::time::Duration;

/// What a use does to a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// One for the life of the grant.
    Nonrotating,
    /// The old one is good for the window more, and each use of it gives another child, all alive.
    /// Later than that, showing it ends the family.
    Grace,
    /// As grace, but of the children of one token only the newest lives, and the window closes when a
    /// child is used.
    Newest,
    /// The old one is refused, and the family lives.
    Plain,
    /// Showing an old one ends the family.
    Strict,
}

impl Class {
    pub const ALL: [Class; 5] = [Class::Nonrotating, Class::Grace, Class::Newest, Class::Plain, Class::Strict];

    /// The provider's id, and the first part of its paths.
    pub fn name(self) -> &'static str {
        match self {
            Class::Nonrotating => "nonrotating",
            Class::Grace => "grace",
            Class::Newest => "newest",
            Class::Plain => "plain",
            Class::Strict => "strict",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Whether a lost answer can be had again within the window.
    pub fn forgives(self) -> bool {
        matches!(self, Class::Nonrotating | Class::Grace | Class::Newest)
    }
}

/// A grant, counted from 0.
pub type GrantNo = usize;
pub type Grants = Vec<GrantNo>;

/// What an answer brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub grant: GrantNo,
    pub access: String,
    /// The one to use from now on; in an answer it is missing where the class does not rotate.
    pub refresh: String,
    pub rotated: bool,
    pub life: Duration,
}

/// Why a family ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Somebody showed this token after its time.
    Reuse(String),
    /// Somebody asked for it at the revocation endpoint, with this token.
    Asked(String),
}

pub struct Book {
    grants: Vec<Grant>,
    /// Where each refresh token stands: grant and row.
    refresh: HashMap<String, (GrantNo, usize)>,
    access: HashMap<String, Access>,
    /// What the revocation endpoint was shown, in its order.
    pub revocations: Vec<String>,
    pub life: Duration,
    pub window: Duration,
}

struct Grant {
    class: Class,
    tokens: Vec<Refresh>,
    /// The row that was used last, which in the class newest alone is still forgiven.
    last_used: Option<usize>,
    issued_access: usize,
    ended: Option<Ended>,
}

struct Refresh {
    text: String,
    parent: Option<usize>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    /// First used then.
    Used(Duration),
    /// A younger sibling took its place.
    Displaced,
}

/// What the books say of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub grant: GrantNo,
    /// The first of a grant is 0.
    pub number: usize,
    pub ends: Duration,
}

impl Default for Book {
    fn default() -> Self {
        let (life, window) = (Duration::from_secs(3600), Duration::from_secs(30));
        Self { grants: Vec::new(), refresh: HashMap::new(), access: HashMap::new(), revocations: Vec::new(), life, window }
    }
}

impl Book {
    pub fn grant(&mut self, class: Class, now: Duration) -> Issued {
        let grant = Grant { class, tokens: Vec::new(), last_used: None, issued_access: 0, ended: None };
        self.grants.push(grant);
        let number = self.grants.len() - 1;
        self.add_refresh(number, None);
        self.issue(number, now)
    }

    /// A refresh with this token: new tokens, or `None`, which means `invalid_grant`.
    pub fn refresh(&mut self, token: &str, now: Duration) -> Option<Issued> {
        let &(number, row) = self.refresh.get(token)?;
        if self.works(number, row, now) {
            self.rotate(number, row, now);
            return Some(self.issue(number, now));
        }
        let grant = &mut self.grants[number];
        if grant.class != Class::Plain && grant.ended.is_none() {
            grant.ended = Some(Ended::Reuse(token.to_owned()));
        }
        None
    }

    /// RFC 7009: a refresh token takes its grant with it, an access token goes alone. One that is not
    /// good any more takes nothing with it (2.2), which is the harder rule for a broker.
    pub fn revoke(&mut self, token: &str, now: Duration) {
        self.revocations.push(token.to_owned());
        if let Some(&(number, row)) = self.refresh.get(token) {
            if self.works(number, row, now) {
                self.grants[number].ended = Some(Ended::Asked(token.to_owned()));
            }
        } else if let Some(access) = self.access.get_mut(token) {
            access.ends = access.ends.min(now);
        }
    }

    /// Whether a refresh with this row would succeed.
    fn works(&self, number: GrantNo, row: usize, now: Duration) -> bool {
        let grant = &self.grants[number];
        let within = |since: Duration| now < since + self.window;
        grant.ended.is_none()
            && match (grant.tokens[row].state, grant.class) {
                (State::Alive, _) => true,
                (State::Used(since), Class::Grace) => within(since),
                (State::Used(since), Class::Newest) => within(since) && grant.last_used == Some(row),
                (State::Used(_) | State::Displaced, _) => false,
            }
    }

    fn rotate(&mut self, number: GrantNo, row: usize, now: Duration) {
        let grant = &mut self.grants[number];
        if grant.class == Class::Nonrotating {
            return;
        }
        if grant.tokens[row].state == State::Alive {
            grant.tokens[row].state = State::Used(now);
        }
        if grant.class == Class::Newest {
            let siblings = grant.tokens.iter_mut().filter(|token| token.parent == Some(row) && token.state == State::Alive);
            siblings.for_each(|token| token.state = State::Displaced);
        }
        grant.last_used = Some(row);
        self.add_refresh(number, Some(row));
    }

    fn add_refresh(&mut self, number: GrantNo, parent: Option<usize>) {
        let tokens = &mut self.grants[number].tokens;
        let text = format!("rt-{number}-{}", tokens.len());
        self.refresh.insert(text.clone(), (number, tokens.len()));
        tokens.push(Refresh { text, parent, state: State::Alive });
    }

    fn issue(&mut self, number: GrantNo, now: Duration) -> Issued {
        let grant = &mut self.grants[number];
        let access = format!("at-{number}-{}", grant.issued_access);
        self.access.insert(access.clone(), Access { grant: number, number: grant.issued_access, ends: now + self.life });
        grant.issued_access += 1;
        let refresh = grant.tokens.last().expect("it has a first").text.clone();
        Issued { grant: number, access, refresh, rotated: grant.class != Class::Nonrotating, life: self.life }
    }

    pub fn grants(&self) -> std::ops::Range<GrantNo> {
        0..self.grants.len()
    }

    pub fn class(&self, grant: GrantNo) -> Class {
        self.grants[grant].class
    }

    pub fn grant_of(&self, refresh: &str) -> Option<GrantNo> {
        self.refresh.get(refresh).map(|(grant, _)| *grant)
    }

    pub fn ended(&self, grant: GrantNo) -> Option<&Ended> {
        self.grants[grant].ended.as_ref()
    }

    pub fn access(&self, token: &str) -> Option<Access> {
        self.access.get(token).copied().filter(|access| !matches!(self.grants[access.grant].ended, Some(Ended::Asked(_))))
    }

    /// The refresh tokens of a grant that would be taken now, oldest first.
    pub fn alive(&self, grant: GrantNo, now: Duration) -> Vec<&str> {
        let tokens = self.grants[grant].tokens.iter().enumerate();
        tokens.filter(|(row, _)| self.works(grant, *row, now)).map(|(_, token)| token.text.as_str()).collect()
    }

    /// How often tokens of this grant were issued after the first.
    pub fn refreshes(&self, grant: GrantNo) -> usize {
        self.grants[grant].issued_access - 1
    }

    pub fn window(&self, class: Class) -> Option<Duration> {
        matches!(class, Class::Grace | Class::Newest).then_some(self.window)
    }
}
