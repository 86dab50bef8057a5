//! What an API key may do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// A right of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    #[serde(rename = "tokens:read")]
    TokensRead,
    #[serde(rename = "connections:read")]
    ConnectionsRead,
    #[serde(rename = "connections:write")]
    ConnectionsWrite,
    #[serde(rename = "integrations:read")]
    IntegrationsRead,
    #[serde(rename = "integrations:write")]
    IntegrationsWrite,
    #[serde(rename = "links:write")]
    LinksWrite,
    #[serde(rename = "events:read")]
    EventsRead,
    /// All of them, and what concerns the account itself.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    pub const ALL: [Scope; 8] = [
        Scope::TokensRead,
        Scope::ConnectionsRead,
        Scope::ConnectionsWrite,
        Scope::IntegrationsRead,
        Scope::IntegrationsWrite,
        Scope::LinksWrite,
        Scope::EventsRead,
        Scope::Admin,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Scope::TokensRead => "tokens:read",
            Scope::ConnectionsRead => "connections:read",
            Scope::ConnectionsWrite => "connections:write",
            Scope::IntegrationsRead => "integrations:read",
            Scope::IntegrationsWrite => "integrations:write",
            Scope::LinksWrite => "links:write",
            Scope::EventsRead => "events:read",
            Scope::Admin => "admin",
        }
    }
}

/// The rights of one credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    pub fn admin() -> Self {
        Self(BTreeSet::from([Scope::Admin]))
    }

    pub fn of(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self(scopes.into_iter().collect())
    }

    /// From the names in a request; unknown names and an empty list are refused.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Refusal> {
        let mut scopes = BTreeSet::new();
        for name in names {
            let known = Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
            scopes.insert(known.ok_or_else(|| Refusal::field("scopes", format!("may hold {}", Self::names())))?);
        }
        if scopes.is_empty() {
            return Err(Refusal::field("scopes", format!("must name at least one of {}", Self::names())));
        }
        Ok(Self(scopes))
    }

    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&Scope::Admin) || self.0.contains(&scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    fn names() -> String {
        Scope::ALL.map(Scope::as_str).join(", ")
    }
}
