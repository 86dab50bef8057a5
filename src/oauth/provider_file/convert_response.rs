//! The part of `convert` that reads how answers are understood.

use std::collections::BTreeMap;

use crate::domain::ids::TokenSetName;
use crate::domain::provider::response::{ErrorRules, ExpirySpec, ExpiryUnit, Pointer, Predicate, Test, TokenFields, ValueTest};
use crate::domain::provider::{ResponseSpec, SetSpec};
use crate::domain::tokens::FailureClass;

use super::convert::Convert;
use super::shape::{FileShape, Pointers, PredicateShape, ResponseShape, Scalar, UnitShape};

impl Convert {
    pub(super) fn response(&mut self, at: &str, shape: &ResponseShape, under: Option<&ResponseSpec>) -> Option<ResponseSpec> {
        let sets = self.sets(at, shape, under)?;
        let mut place =
            |name: &str, given: &Option<Pointers>, under: Option<&Vec<Pointer>>, default: &[&str]| match (given, under) {
                (None, Some(under)) => under.clone(),
                (given, _) => self.pointers(&format!("{at}.{name}"), given.as_ref(), default),
            };
        let old = under.map(|under| &under.fields);
        let fields = TokenFields {
            access_token: place("access_token", &shape.access_token, old.map(|old| &old.access_token), &["/access_token"]),
            refresh_token: place("refresh_token", &shape.refresh_token, old.map(|old| &old.refresh_token), &["/refresh_token"]),
            token_secret: place("token_secret", &shape.token_secret, old.map(|old| &old.token_secret), &[]),
            token_type: place("token_type", &shape.token_type, old.map(|old| &old.token_type), &["/token_type"]),
            expires_in: place("expires_in", &shape.expires_in, old.map(|old| &old.expires_in), &["/expires_in"]),
            expires_at: place("expires_at", &shape.expires_at, old.map(|old| &old.expires_at), &["/expires_at"]),
            refresh_expires_in: place(
                "refresh_expires_in",
                &shape.refresh_expires_in,
                old.map(|old| &old.refresh_expires_in),
                &["/refresh_token_expires_in", "/refresh_expires_in"],
            ),
            refresh_expires_at: place(
                "refresh_expires_at",
                &shape.refresh_expires_at,
                old.map(|old| &old.refresh_expires_at),
                &["/refresh_token_expires_at"],
            ),
            scope: place("scope", &shape.scope, old.map(|old| &old.scope), &["/scope"]),
        };
        let subject = place("subject", &shape.subject, under.map(|under| &under.subject), &["id_token:/sub"]);
        let keep = match (&shape.keep, under) {
            (None, Some(under)) => under.keep.clone(),
            (keep, _) => self.keep(&format!("{at}.keep"), keep.as_ref().unwrap_or(&BTreeMap::new())),
        };
        let expiry = self.expiry(at, shape, under.map(|under| under.expiry));
        Some(ResponseSpec { sets, fields, expiry, keep, subject })
    }

    fn expiry(&mut self, at: &str, shape: &ResponseShape, under: Option<ExpirySpec>) -> ExpirySpec {
        let under = under.unwrap_or(ExpirySpec { unit: ExpiryUnit::Seconds, default: None, zero_means_never: false });
        ExpirySpec {
            unit: match shape.expires_unit {
                None => under.unit,
                Some(UnitShape::Seconds) => ExpiryUnit::Seconds,
                Some(UnitShape::Milliseconds) => ExpiryUnit::Milliseconds,
            },
            default: self.duration(&format!("{at}.expires_default"), shape.expires_default.as_deref()).or(under.default),
            zero_means_never: shape.zero_means_never.unwrap_or(under.zero_means_never),
        }
    }

    /// `sets` names several; else there is one, `default`, at `at`.
    fn sets(&mut self, at: &str, shape: &ResponseShape, under: Option<&ResponseSpec>) -> Option<Vec<SetSpec>> {
        if shape.at.is_some() && shape.sets.is_some() {
            self.fault(format!("{at}.at"), "says where the one set is; with `sets` each says it for itself");
        }
        let mut sets: Vec<SetSpec> = match (&shape.at, &shape.sets, under) {
            (None, _, Some(under)) => under.sets.clone(),
            (_, Some(_), None) => Vec::new(),
            (place, _, _) => {
                let at = self.pointers(&format!("{at}.at"), place.as_ref(), &[""]);
                vec![SetSpec { name: TokenSetName::default_set(), at }]
            }
        };
        for (name, places) in shape.sets.iter().flatten() {
            let at = format!("{at}.sets.{name}");
            let set = SetSpec { name: self.set_name(&at, name)?, at: self.pointers(&at, Some(places), &[]) };
            if under.is_some() && !sets.iter().any(|known| known.name == set.name) {
                self.fault(&at, "is not a token set of `[response.sets]`");
            }
            sets.retain(|known| known.name != set.name);
            sets.push(set);
        }
        Some(sets)
    }

    pub(super) fn set_name(&mut self, at: &str, name: &str) -> Option<TokenSetName> {
        self.read(at, TokenSetName::parse(name).map_err(|refusal| refusal.detail))
    }

    pub(super) fn keep(&mut self, at: &str, keep: &BTreeMap<String, String>) -> BTreeMap<String, Pointer> {
        keep.iter().filter_map(|(name, text)| Some((name.clone(), self.pointer(&format!("{at}.{name}"), text)?))).collect()
    }

    pub(super) fn pointers(&mut self, at: &str, given: Option<&Pointers>, default: &[&str]) -> Vec<Pointer> {
        let texts: Vec<&str> = match given {
            None => default.to_vec(),
            Some(Pointers::One(text)) => vec![text],
            Some(Pointers::Many(texts)) => texts.iter().map(String::as_str).collect(),
        };
        texts.into_iter().filter_map(|text| self.pointer(at, text)).collect()
    }

    fn pointer(&mut self, at: &str, text: &str) -> Option<Pointer> {
        self.read(at, Pointer::parse(text))
    }

    pub(super) fn errors(&mut self, file: &FileShape) -> ErrorRules {
        let shape = &file.errors;
        let code = self.pointers("errors.code", shape.code.as_ref(), &["/error"]);
        let when = self.predicates("errors.when", &shape.when);
        let classes = [
            (FailureClass::DeadGrant, "dead_grant", &shape.dead_grant),
            (FailureClass::IntegrationBroken, "integration_broken", &shape.integration_broken),
            (FailureClass::Throttled, "throttled", &shape.throttled),
            (FailureClass::Misconfigured, "misconfigured", &shape.misconfigured),
            (FailureClass::SubjectRefused, "subject_refused", &shape.subject_refused),
            (FailureClass::InDoubt, "in_doubt", &shape.in_doubt),
        ];
        let classes = classes.map(|(class, name, list)| (class, self.predicates(&format!("errors.{name}"), list)));
        let others = [&shape.when, &shape.integration_broken, &shape.throttled, &shape.misconfigured, &shape.in_doubt];
        if others.into_iter().chain([&shape.subject_refused]).flatten().any(|predicate| predicate.is_final) {
            self.fault("errors", "has `final` outside `dead_grant`, the only class that ends a grant");
        }
        let finals: Vec<PredicateShape> = shape.dead_grant.iter().filter(|predicate| predicate.is_final).cloned().collect();
        let finals = self.predicates("errors.dead_grant", &finals);
        ErrorRules { when, code, classes: classes.into(), finals }
    }

    fn predicates(&mut self, at: &str, shapes: &[PredicateShape]) -> Vec<Predicate> {
        shapes.iter().enumerate().filter_map(|(n, shape)| self.predicate(&format!("{at}.{n}"), shape)).collect()
    }

    fn predicate(&mut self, at: &str, shape: &PredicateShape) -> Option<Predicate> {
        let test = match (&shape.equals, &shape.contains) {
            (Some(_), Some(_)) => {
                self.fault(at, "has both `equals` and `contains`");
                return None;
            }
            (Some(Scalar::Text(text)), None) => Test::Equals(text.clone().into()),
            (Some(Scalar::Integer(number)), None) => Test::Equals((*number).into()),
            (Some(Scalar::Bool(flag)), None) => Test::Equals((*flag).into()),
            (None, Some(part)) => Test::Contains(part.clone()),
            (None, None) => Test::Exists,
        };
        let value = match &shape.pointer {
            Some(pointer) => Some(ValueTest { at: self.pointer(at, pointer)?, test }),
            None if test != Test::Exists => {
                self.fault(at, "compares a value but has no `pointer`");
                return None;
            }
            None => None,
        };
        if shape.status.is_none() && shape.error.is_none() && value.is_none() {
            self.fault(at, "is empty: give `status`, `error` or `pointer`");
            return None;
        }
        Some(Predicate { status: shape.status, error: shape.error.clone(), value })
    }
}
