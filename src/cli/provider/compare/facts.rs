//! A file of facts, fact by fact beside what our files say. Each key that a provider file can express is one entry of
//! the table here; whatever else stands in a row is named as not compared.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::call::Method;
use crate::domain::provider::request::{BodyKind, ClientAuth, ParamValue, PkceUse, RequestSpec};
use crate::domain::provider::template::{Template, Values};
use crate::domain::provider::{GrantType, Provider, ProviderSpec, RefreshClass};

/// What it may say of each provider, in the words of RFC 8414 where it has them.
#[derive(Debug, Deserialize)]
pub struct Facts {
    pub providers: Vec<Row>,
}

#[derive(Debug, Deserialize)]
pub struct Row {
    pub name: String,
    /// What the sources disagree on; each value is as good as the first.
    #[serde(default)]
    conflicts: BTreeMap<String, Vec<Other>>,
    #[serde(flatten)]
    said: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Other {
    value: Value,
}

/// How two sides differ. What only one of them says may be a gap on the other, or nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Differs,
    OnlyFacts,
    OnlyHere,
}

#[derive(Debug)]
pub struct Difference {
    pub key: &'static str,
    pub kind: Kind,
    /// Both sides, or the one that says something.
    pub told: String,
}

/// One fact as our file has it.
struct Ours {
    key: &'static str,
    /// `None` where a file of ours says that there is no such thing.
    value: Option<String>,
    /// It is as it is unless somebody says otherwise, so that the facts' silence agrees.
    usual: bool,
}

impl Row {
    pub fn mode(&self) -> String {
        self.text("auth_mode").unwrap_or_default()
    }

    pub fn differences(&self, provider: &Provider) -> Vec<Difference> {
        let spec = provider.spec();
        let mode = if spec.grant == GrantType::Oauth1 { "oauth1" } else { "oauth2" };
        // Of two protocols nothing else can be compared.
        if let Some(theirs) = self.text("auth_mode").filter(|theirs| theirs != mode && !self.is_disputed("auth_mode", mode)) {
            return vec![Difference { key: "auth_mode", kind: Kind::Differs, told: both(mode, &theirs) }];
        }
        let mut found: Vec<Difference> =
            requests(spec).into_iter().chain(words(provider)).filter_map(|ours| self.difference(ours)).collect();
        found.extend(self.look_up(spec));
        found.extend(self.params("extra_authorize_params", &authorize_params(spec)));
        found.extend(self.params("extra_token_params", &token_params(&spec.token)));
        found
    }

    fn difference(&self, Ours { key, value, usual }: Ours) -> Option<Difference> {
        let (kind, told) = match (value, self.text(key)) {
            (Some(ours), Some(theirs)) => {
                if ours == theirs || self.is_disputed(key, &ours) {
                    return None;
                }
                (Kind::Differs, both(&ours, &theirs))
            }
            (None, Some(theirs)) => (Kind::OnlyFacts, theirs),
            (Some(ours), None) if !usual => (Kind::OnlyHere, ours),
            _ => return None,
        };
        Some(Difference { key, kind, told })
    }

    /// Who connected is looked up at one of several places; one that is the same is enough.
    fn look_up(&self, spec: &ProviderSpec) -> Option<Difference> {
        let more = self.said.get("userinfo_url_alternatives").and_then(Value::as_array).into_iter().flatten();
        let theirs = self.said.get("userinfo_url").into_iter().chain(more).filter_map(Value::as_str).map(place);
        let theirs: Vec<String> = theirs.collect();
        let ours: Vec<String> = spec.after_connect.iter().map(|step| place(step.request.url.as_str())).collect();
        let (kind, told) = match (ours.is_empty(), theirs.is_empty()) {
            (false, false) if ours.iter().any(|url| theirs.contains(url)) => return None,
            (false, false) => (Kind::Differs, both(&ours.join(" "), &theirs.join(" "))),
            (true, false) => (Kind::OnlyFacts, theirs.join(" ")),
            (false, true) => (Kind::OnlyHere, ours.join(" ")),
            (true, true) => return None,
        };
        Some(Difference { key: "userinfo_url", kind, told })
    }

    /// What a library sends besides; of each param by itself.
    fn params(&self, key: &'static str, ours: &BTreeMap<String, String>) -> Vec<Difference> {
        let theirs: BTreeMap<&String, String> = self.said.get(key).and_then(Value::as_object).map_or_else(BTreeMap::new, |all| {
            all.iter().map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect()
        });
        let of_theirs = theirs.iter().filter_map(|(name, theirs)| match ours.get(*name) {
            Some(ours) if ours == theirs => None,
            Some(ours) => Some((Kind::Differs, format!("{name}: {}", both(ours, theirs)))),
            None => Some((Kind::OnlyFacts, format!("{name}={theirs}"))),
        });
        let of_ours = ours.iter().filter(|(name, _)| !theirs.contains_key(name));
        let of_ours = of_ours.map(|(name, value)| (Kind::OnlyHere, format!("{name}={value}")));
        of_theirs.chain(of_ours).map(|(kind, told)| Difference { key, kind, told }).collect()
    }

    /// A fact of theirs, as ours would be written.
    fn text(&self, key: &str) -> Option<String> {
        // Where the params of a token request stand is one fact here.
        let value = self.said.get(key).or_else(|| self.said.get("token_params_in").filter(|_| key == "token_body"))?;
        plain(key, value)
    }

    /// One of the sources has it as we do.
    fn is_disputed(&self, key: &str, ours: &str) -> bool {
        let others = self.conflicts.get(key).into_iter().flatten();
        others.filter_map(|other| plain(key, &other.value)).any(|theirs| theirs == ours)
    }

    /// The keys of this row that nobody looks at: texts for people, and where they come from.
    pub fn not_compared(&self) -> impl Iterator<Item = &str> {
        self.said.keys().map(String::as_str).filter(|key| !COMPARED.contains(key))
    }
}

/// Every key that is looked at.
const COMPARED: [&str; 24] = [
    "auth_mode",
    "authorize_url",
    "token_url",
    "refresh_url",
    "revoke_url",
    "request_token_url",
    "device_auth_url",
    "userinfo_url",
    "userinfo_url_alternatives",
    "issuer",
    "response_type",
    "supports_refresh",
    "revoke_method",
    "token_method",
    "token_body",
    "token_params_in",
    "token_auth",
    "scope_separator",
    "scope_param",
    "client_id_param",
    "pkce",
    "pkce_required",
    "extra_authorize_params",
    "extra_token_params",
];

fn both(ours: &str, theirs: &str) -> String {
    format!("ours {ours}, facts {theirs}")
}

fn plain(key: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) if key.ends_with("_url") => Some(place(text)),
        // A plus is a space, as it stands in a query.
        Value::String(text) if key == "scope_separator" => Some(format!("{:?}", text.replace('+', " "))),
        Value::String(text) if key.ends_with("_method") => Some(text.to_ascii_uppercase()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(true) => Some("yes".to_owned()),
        _ => None,
    }
}

/// Where calls go, and how.
fn requests(spec: &ProviderSpec) -> Vec<Ours> {
    let at = |key, request: Option<&RequestSpec>| Ours { key, value: request.map(|call| place(call.url.as_str())), usual: false };
    let how = |key, request: Option<&RequestSpec>| Ours {
        key,
        value: request.map(|call| call.method.as_str().to_owned()),
        usual: request.is_none_or(|call| call.method == Method::Post),
    };
    let revoke = spec.revoke.as_ref().map(|revoke| &revoke.request);
    let refresh = Some(&spec.refresh.request).filter(|_| spec.refresh.class() != RefreshClass::None);
    let body = spec.token.body;
    vec![
        Ours { key: "authorize_url", value: spec.authorize.url.as_ref().map(|url| place(url.as_str())), usual: false },
        at("token_url", Some(&spec.token)),
        Ours { usual: refresh.is_none_or(|call| call.url.as_str() == spec.token.url.as_str()), ..at("refresh_url", refresh) },
        at("revoke_url", revoke),
        at("request_token_url", spec.oauth1.as_ref().map(|oauth1| &oauth1.request_token)),
        at("device_auth_url", spec.device.as_ref()),
        how("revoke_method", revoke),
        how("token_method", Some(&spec.token)),
        Ours { key: "token_body", value: Some(body.as_str().to_owned()), usual: body == BodyKind::Form },
    ]
}

/// How things are called and proved. A provider of OAuth 1.0a signs, and has none of it.
fn words(provider: &Provider) -> Vec<Ours> {
    let spec = provider.spec();
    if spec.grant == GrantType::Oauth1 {
        return Vec::new();
    }
    let scopes = &spec.authorize.scopes;
    let called = |key, standard: &str| {
        let name = spec.authorize.rename.get(standard).map_or(standard, String::as_str);
        Ours { key, value: Some(name.to_owned()), usual: name == standard }
    };
    let auth = client_auth(&spec.token);
    let challenge = match provider.pkce() {
        PkceUse::Off => None,
        PkceUse::Required | PkceUse::Optional => Some("S256"),
        PkceUse::Plain => Some("plain"),
    };
    let required = (provider.pkce() == PkceUse::Required).then(|| "yes".to_owned());
    let refreshed = (spec.refresh.class() != RefreshClass::None).then(|| "yes".to_owned());
    let asked = match spec.authorize.params.get("response_type") {
        Some(other) => Some(written(other)),
        None => (!spec.authorize.drop.iter().any(|name| name == "response_type")).then(|| "code".to_owned()),
    };
    // A file has an issuer only where callbacks name it.
    let issuer = spec.callback.issuer.clone().map(|issuer| Ours { key: "issuer", value: Some(issuer), usual: true });
    let words = [
        Ours { key: "token_auth", value: Some(auth.to_owned()), usual: auth == "client_secret_post" },
        Ours {
            key: "scope_separator",
            value: (!scopes.none).then(|| format!("{:?}", scopes.separator)),
            usual: scopes.separator == " ",
        },
        called("scope_param", "scope"),
        called("client_id_param", "client_id"),
        Ours { key: "pkce", value: challenge.map(str::to_owned), usual: false },
        // Few sources say so: that they do not, says nothing.
        Ours { key: "pkce_required", value: required, usual: true },
        Ours { key: "supports_refresh", value: refreshed, usual: true },
        Ours { key: "response_type", usual: asked.as_deref() == Some("code"), value: asked },
    ];
    words.into_iter().chain(issuer).collect()
}

/// As RFC 8414 calls it. What a file sends by params of its own counts as sent.
fn client_auth(token: &RequestSpec) -> &'static str {
    match token.client_auth {
        ClientAuth::Basic => "client_secret_basic",
        ClientAuth::Post => "client_secret_post",
        ClientAuth::Public | ClientAuth::Off if token.params.contains_key("client_secret") => "client_secret_post",
        ClientAuth::PrivateKeyJwt | ClientAuth::ClientSecretJwt => token.client_auth.as_str(),
        ClientAuth::Public | ClientAuth::Off => "none",
    }
}

fn authorize_params(spec: &ProviderSpec) -> BTreeMap<String, String> {
    spec.authorize.params.iter().map(|(name, template)| (name.clone(), written(template))).collect()
}

fn token_params(token: &RequestSpec) -> BTreeMap<String, String> {
    let shown = |value: &ParamValue| match value {
        ParamValue::Text(template) => written(template),
        ParamValue::Integer(number) => number.to_string(),
        ParamValue::Bool(yes) => yes.to_string(),
    };
    token.params.iter().map(|(name, value)| (name.clone(), shown(value))).collect()
}

/// A text that is always the same, or what it is made of.
fn written(template: &Template) -> String {
    let made_of = || template.names().into_iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" ");
    template.render(&Values::default()).unwrap_or_else(|_| made_of())
}

/// A URL without what people write differently: the names of its params, a slash at its end, its query.
fn place(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let mut place = String::new();
    for (at, part) in plain.split('{').enumerate() {
        let after = if at == 0 { Some(part) } else { part.split_once('}').map(|(_, after)| after) };
        place += if at == 0 { "" } else { "{}" };
        place += after.unwrap_or_default();
    }
    // A whole origin may be written with or without its scheme.
    place.strip_prefix("https://{}/").map_or(place.clone(), |path| format!("{{}}/{path}"))
}
