//! The part of `convert` that reads requests, and the rule of which test vectors a file must have.

use std::collections::BTreeMap;

use url::Url;

use crate::domain::call::Method;
use crate::domain::provider::request::{BasicEncoding, BodyKind, ClientAuth, ParamValue};
use crate::domain::provider::template::{Template, UrlTemplate};
use crate::domain::provider::{RequestSpec, ScopeSpec};

use super::convert::Convert;
use super::convert_flow::by_device;
use super::convert_grant::grant;
use super::shape::{FileShape, GrantShape, Scalar};
use super::shape_request::{BasicShape, BodyShape, ClassShape, ClientAuthShape, MethodShape, RequestShape};
use super::vector::{Step, VectorShape};

impl Convert {
    /// A request; what it leaves out comes from the one below it, else from the standards.
    pub(super) fn request(&mut self, at: &str, shape: &RequestShape, under: Option<&RequestSpec>) -> Option<RequestSpec> {
        let url = match (&shape.url, under) {
            (None, Some(under)) => Some(under.url.clone()),
            (url, _) => self.url(&format!("{at}.url"), url.as_deref()),
        };
        let headers = match (&shape.headers, under) {
            (None, Some(under)) => under.headers.clone(),
            (headers, _) => self.headers(at, headers.as_ref()),
        };
        let params = match (&shape.params, under) {
            (None, Some(under)) => under.params.clone(),
            (params, _) => self.param_values(at, params.as_ref()),
        };
        let basic_user = self.own_or(at, "basic_user", &shape.basic_user, under.and_then(|under| under.basic_user.as_ref()));
        let basic_pass = self.own_or(at, "basic_pass", &shape.basic_pass, under.and_then(|under| under.basic_pass.as_ref()));
        Some(RequestSpec {
            basic_user,
            basic_pass,
            method: shape.method.map(method).or(under.map(|under| under.method)).unwrap_or(Method::Post),
            url: url?,
            client_auth: shape.client_auth.map(client_auth).or(under.map(|under| under.client_auth)).unwrap_or(ClientAuth::Post),
            basic: shape.basic.map(basic).or(under.map(|under| under.basic)).unwrap_or(BasicEncoding::Form),
            client_id_in_body: shape.client_id_in_body.or(under.map(|under| under.client_id_in_body)).unwrap_or(false),
            body: shape.body.map(body).or(under.map(|under| under.body)).unwrap_or(BodyKind::Form),
            headers,
            params,
            rename: shape.rename.clone().or_else(|| under.map(|under| under.rename.clone())).unwrap_or_default(),
            drop: shape.drop.clone().or_else(|| under.map(|under| under.drop.clone())).unwrap_or_default(),
        })
    }

    fn own_or(&mut self, at: &str, key: &str, own: &Option<String>, under: Option<&Template>) -> Option<Template> {
        match own {
            Some(text) => self.template(&format!("{at}.{key}"), text),
            None => under.cloned(),
        }
    }

    /// A look-up is a GET with the new token as its bearer, unless the file says otherwise.
    pub(super) fn lookup_request(&mut self, at: &str, shape: &RequestShape) -> Option<RequestSpec> {
        let mut shape = shape.request();
        let posts = matches!(shape.method, Some(MethodShape::Post | MethodShape::Put));
        shape.method.get_or_insert(MethodShape::Get);
        shape.body.get_or_insert(if posts { BodyShape::Json } else { BodyShape::Query });
        shape.client_auth.get_or_insert(ClientAuthShape::Off);
        let headers = shape.headers.get_or_insert_default();
        if !headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")) {
            headers.insert("authorization".to_owned(), "Bearer {access_token}".to_owned());
        }
        self.request(at, &shape, None)
    }

    pub(super) fn url(&mut self, at: &str, text: Option<&str>) -> Option<UrlTemplate> {
        let text = self.needed(at, text)?;
        self.read(at, UrlTemplate::parse(text))
    }

    fn headers(&mut self, at: &str, headers: Option<&BTreeMap<String, String>>) -> BTreeMap<String, Template> {
        let headers = headers.into_iter().flatten();
        headers.filter_map(|(name, text)| Some((name.clone(), self.template(&format!("{at}.headers.{name}"), text)?))).collect()
    }

    fn param_values(&mut self, at: &str, params: Option<&BTreeMap<String, Scalar>>) -> BTreeMap<String, ParamValue> {
        let mut values = BTreeMap::new();
        for (name, scalar) in params.into_iter().flatten() {
            let value = match scalar {
                Scalar::Text(text) => self.template(&format!("{at}.params.{name}"), text).map(ParamValue::Text),
                Scalar::Integer(number) => Some(ParamValue::Integer(*number)),
                Scalar::Bool(flag) => Some(ParamValue::Bool(*flag)),
            };
            values.extend(value.map(|value| (name.clone(), value)));
        }
        values
    }

    /// The tests name each scope by itself, and their URLs join them with the file's separator.
    pub(super) fn scopes_of_tests(&mut self, file: &FileShape, scopes: &ScopeSpec) {
        let param = file.authorize.rename.get("scope").map_or("scope", String::as_str);
        let separator = &scopes.separator;
        for (n, test) in file.test.iter().enumerate() {
            if let Some(scope) = test.scopes.iter().find(|scope| scopes.joins(scope)) {
                let at = format!("test.{n}.scopes");
                self.fault(at, format!("{scope:?} is joined of several, where the separator is {separator:?}"));
            }
            let url = test.url.as_deref().and_then(|url| Url::parse(url).ok());
            let joined = url.iter().flat_map(Url::query_pairs).find(|(name, _)| name == param).map(|(_, joined)| joined);
            if let Some(joined) = joined.filter(|joined| joined.split(separator.as_str()).any(|scope| scopes.joins(scope))) {
                let at = format!("test.{n}.url");
                self.fault(at, format!("joins its scopes as in {joined:?}, where the separator is {separator:?}"));
            }
        }
    }

    /// A file proves itself: what is sent and what is understood, for each step that it has.
    pub(super) fn tests(&mut self, file: &FileShape) {
        let has = |step, holds: fn(&VectorShape) -> bool| file.test.iter().any(|test| test.step == step && holds(test));
        let failing = |test: &VectorShape| test.expect.as_ref().is_some_and(|expect| expect.failure.is_some());
        // Where tokens are minted, a refresh sends what the exchange does.
        let minted = grant(file.grant).is_minted();
        let refreshes = !minted && file.refresh.class.is_some_and(|class| class != ClassShape::None);
        let by_device = by_device(file);
        let oauth1 = file.grant == Some(GrantShape::Oauth1);
        let unsent = minted || by_device;
        let installs = file.install.as_ref().is_some_and(|install| !install.params.is_empty());
        let wanted = [
            (unsent || has(Step::Authorize, |test| test.url.is_some()), "an `authorize` test with its `url`"),
            (!by_device || has(Step::Device, |test| test.request.is_some()), "a `device` test with its `request`"),
            (!by_device || has(Step::Device, |test| test.answer.is_some()), "a `device` test with an `answer`"),
            (!oauth1 || has(Step::RequestToken, |test| test.request.is_some()), "a `request_token` test with its `request`"),
            (!oauth1 || has(Step::RequestToken, |test| test.answer.is_some()), "a `request_token` test with an `answer`"),
            (!installs || has(Step::Install, |test| test.callback.is_some()), "an `install` test with its `callback`"),
            (has(Step::Exchange, |test| test.request.is_some()), "an `exchange` test with its `request`"),
            (has(Step::Exchange, |test| test.answer.is_some()), "an `exchange` test with an `answer`"),
            (file.test.iter().any(failing), "a test whose `expect` has a `failure`"),
            (!refreshes || has(Step::Refresh, |test| test.request.is_some()), "a `refresh` test with its `request`"),
            (!refreshes || has(Step::Refresh, |test| test.answer.is_some()), "a `refresh` test with an `answer`"),
            (file.extend.is_none() || has(Step::Extend, |test| test.request.is_some()), "an `extend` test with its `request`"),
            (file.extend.is_none() || has(Step::Extend, |test| test.answer.is_some()), "an `extend` test with an `answer`"),
            (
                file.introspect.is_none() || has(Step::Introspect, |test| test.request.is_some()),
                "an `introspect` test with its `request`",
            ),
            (
                file.introspect.is_none() || has(Step::Introspect, |test| test.answer.is_some()),
                "an `introspect` test with an `answer`",
            ),
            (file.revoke.is_none() || has(Step::Revoke, |test| test.request.is_some()), "a `revoke` test with its `request`"),
        ];
        for (_, what) in wanted.iter().filter(|(there, _)| !there) {
            self.fault("test", format!("{what} is missing"));
        }
        for (n, test) in file.test.iter().enumerate() {
            let is_twin = |other: &&VectorShape| other.step == test.step && other.name == test.name;
            if file.test.iter().take(n).any(|other| is_twin(&other)) {
                self.fault(format!("test.{n}"), "is the second of this step with this name");
            }
        }
    }
}

fn method(shape: MethodShape) -> Method {
    match shape {
        MethodShape::Get => Method::Get,
        MethodShape::Post => Method::Post,
        MethodShape::Put => Method::Put,
        MethodShape::Delete => Method::Delete,
    }
}

fn client_auth(shape: ClientAuthShape) -> ClientAuth {
    match shape {
        ClientAuthShape::Post => ClientAuth::Post,
        ClientAuthShape::Basic => ClientAuth::Basic,
        ClientAuthShape::PrivateKeyJwt => ClientAuth::PrivateKeyJwt,
        ClientAuthShape::ClientSecretJwt => ClientAuth::ClientSecretJwt,
        ClientAuthShape::None => ClientAuth::Public,
        ClientAuthShape::Off => ClientAuth::Off,
    }
}

fn basic(shape: BasicShape) -> BasicEncoding {
    match shape {
        BasicShape::Encoded => BasicEncoding::Form,
        BasicShape::Raw => BasicEncoding::Raw,
    }
}

fn body(shape: BodyShape) -> BodyKind {
    match shape {
        BodyShape::Form => BodyKind::Form,
        BodyShape::Json => BodyKind::Json,
        BodyShape::Query => BodyKind::Query,
    }
}
