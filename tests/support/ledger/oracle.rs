//! What the books can be asked: which grants are lost, which families were ended by reuse, which
//! tokens were shown twice, and whether two requests with one token met in flight.

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::{Access, Class, Ended, GrantNo, Grants};
use super::script::End;
use super::{Ledger, lock};

/// A refresh token that somebody showed.
#[derive(Debug, Clone)]
pub struct Presented {
    pub grant: Option<GrantNo>,
    pub token: String,
    pub door: usize,
    pub arrived: Duration,
    /// When the books were written, and which tokens that issued; nothing where it was refused or not
    /// done at all.
    pub issued: Option<(Duration, String, String)>,
    /// Somebody was told `invalid_grant`.
    pub refused: bool,
    pub end: End,
    /// When the answer had been handed to the network, or the connection was closed without one.
    pub finished: Option<Duration>,
    /// All of the answer was handed to the network.
    pub whole: bool,
}

impl Presented {
    /// Both were under way at some moment.
    fn meets(&self, other: &Presented) -> bool {
        let ends = |one: &Presented| one.finished.unwrap_or(Duration::MAX);
        self.arrived < ends(other) && other.arrived < ends(self)
    }
}

/// What a broker must not do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Crimes {
    /// Families that ended because an old token was shown.
    pub revoked: Grants,
    /// Tokens of rotating classes that were shown again, and how often in all.
    pub repeated: BTreeMap<String, usize>,
    /// Tokens that were under way twice at one moment.
    pub crossed: Vec<String>,
}

impl Crimes {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Ledger {
    /// Every refresh so far, in order of arrival.
    pub fn presented(&self) -> Vec<Presented> {
        lock(&self.desk.presented).clone()
    }

    pub fn count(&self) -> usize {
        lock(&self.desk.presented).len()
    }

    pub fn crimes(&self) -> Crimes {
        let (book, presented) = (self.book(), lock(&self.desk.presented));
        let reused = |grant: &GrantNo| matches!(book.ended(*grant), Some(Ended::Reuse(_)));
        let revoked = book.grants().filter(reused).collect();
        let mut uses: BTreeMap<&str, Vec<&Presented>> = BTreeMap::new();
        presented.iter().for_each(|one| uses.entry(&one.token).or_default().push(one));
        let mut crimes = Crimes { revoked, ..Crimes::default() };
        for (token, uses) in uses {
            let rotating = book.grant_of(token).is_some_and(|grant| book.class(grant) != Class::Nonrotating);
            // In a row, each with the next: they are in order of arrival.
            if uses.iter().enumerate().any(|(n, one)| uses[n + 1..].iter().any(|other| one.meets(other))) {
                crimes.crossed.push(token.to_owned());
            }
            if rotating && uses.len() > 1 {
                crimes.repeated.insert(token.to_owned(), uses.len());
            }
        }
        crimes
    }

    /// The refresh tokens of a grant that would be taken now.
    pub fn alive(&self, grant: GrantNo) -> Vec<String> {
        self.book().alive(grant, self.now()).into_iter().map(str::to_owned).collect()
    }

    /// Whether none of the tokens that somebody holds would be taken now, of a grant that was not
    /// ended on request.
    pub fn is_lost(&self, grant: GrantNo, held: &[&str]) -> bool {
        let book = self.book();
        let alive = book.alive(grant, self.now());
        !matches!(book.ended(grant), Some(Ended::Asked(_))) && !alive.iter().any(|token| held.contains(token))
    }

    /// Grants none of whose living refresh tokens was ever handed out whole: whoever lost them, no
    /// broker can have them. Grants without a refresh so far have their first.
    pub fn out_of_reach(&self) -> Grants {
        let (book, presented) = (self.book(), lock(&self.desk.presented));
        let mut handed: BTreeMap<GrantNo, Vec<&str>> = BTreeMap::new();
        for one in presented.iter().filter(|one| one.whole) {
            let Some((grant, (_, _, refresh))) = one.grant.zip(one.issued.as_ref()) else { continue };
            handed.entry(grant).or_default().push(refresh);
        }
        let none = |grant: &GrantNo| {
            let handed = handed.get(grant).map_or(&[][..], Vec::as_slice);
            let first = format!("rt-{grant}-0");
            !book.alive(*grant, self.now()).into_iter().any(|token| token == first || handed.contains(&token))
        };
        book.grants().filter(none).collect()
    }

    /// The last refresh of a grant that wrote the books.
    pub fn last_rotation(&self, grant: GrantNo) -> Option<Presented> {
        let presented = lock(&self.desk.presented);
        presented.iter().rev().find(|one| one.grant == Some(grant) && one.issued.is_some()).cloned()
    }

    pub fn ended(&self, grant: GrantNo) -> Option<Ended> {
        self.book().ended(grant).cloned()
    }

    /// The tokens that the revocation endpoint was shown, in its order.
    pub fn revocations(&self) -> Vec<String> {
        self.book().revocations.clone()
    }

    pub fn class(&self, grant: GrantNo) -> Class {
        self.book().class(grant)
    }

    /// How often a grant was refreshed by the books.
    pub fn refreshes(&self, grant: GrantNo) -> usize {
        self.book().refreshes(grant)
    }

    /// What the books say of an access token; `None` if it was never issued, or was revoked.
    pub fn access(&self, token: &str) -> Option<Access> {
        self.book().access(token)
    }

    /// Whether a resource server would take this access token now.
    pub fn admits(&self, access: &str) -> bool {
        self.access(access).is_some_and(|access| self.now() < access.ends)
    }

    /// Most refreshes that came within any span of this length.
    pub fn peak(&self, span: Duration) -> usize {
        let presented = lock(&self.desk.presented);
        let mut from = 0;
        let mut most = 0;
        for (at, one) in presented.iter().enumerate() {
            while presented[from].arrived + span <= one.arrived {
                from += 1;
            }
            most = most.max(at + 1 - from);
        }
        most
    }
}
