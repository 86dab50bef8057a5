//! The part of `convert` that reads providers of OAuth 1.0a (`grant = "oauth1"`): what their files need not say, and
//! what they alone say.

use crate::domain::provider::Oauth1Spec;
use crate::domain::provider::oauth1::{ParamsIn, SignatureMethod};

use super::convert::Convert;
use super::shape::{FileShape, GrantShape, ParamsInShape, PkceShape, Pointers, SignatureShape};
use super::shape_request::{ClassShape, ClientAuthShape, ClientSecretShape, LookupShape};

/// The file as its author means it: where RFC 5849 has other names than RFC 6749, those are the default.
pub(super) fn with_defaults(file: &FileShape) -> FileShape {
    let mut file = file.clone();
    let rsa = file.oauth1.signature_method.is_some_and(|method| signature(method).is_rsa());
    file.authorize.pkce.get_or_insert(PkceShape::Off);
    file.callback.code.get_or_insert_with(|| "oauth_verifier".to_owned());
    // Whatever it holds: providers name the token that was declined.
    file.callback.denied.entry("denied".to_owned()).or_default();
    file.request_token.get_or_insert_default().client_auth.get_or_insert(ClientAuthShape::Off);
    file.token.client_auth.get_or_insert(ClientAuthShape::Off);
    if !rsa {
        file.token.client_secret.get_or_insert(ClientSecretShape::Required);
    }
    file.refresh.class.get_or_insert(ClassShape::None);
    let place = |given: &mut Option<Pointers>, default: &[&str]| {
        given.get_or_insert_with(|| Pointers::Many(default.iter().map(|at| (*at).to_owned()).collect()));
    };
    place(&mut file.response.access_token, &["/oauth_token"]);
    place(&mut file.response.token_secret, &["/oauth_token_secret"]);
    place(&mut file.response.expires_in, &["/oauth_expires_in"]);
    place(&mut file.errors.code, &["/oauth_problem", "/error"]);
    file.usage.scheme.get_or_insert_with(|| "OAuth".to_owned());
    file.after_connect.iter_mut().for_each(signed);
    file
}

/// A look-up is signed, and has no bearer: an empty header is not sent.
fn signed(step: &mut LookupShape) {
    let headers = step.headers.get_or_insert_default();
    if !headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")) {
        headers.insert("authorization".to_owned(), String::new());
    }
}

impl Convert {
    /// `None` where the grant is another one.
    pub(super) fn oauth1(&mut self, file: &FileShape) -> Option<Oauth1Spec> {
        if file.grant != Some(GrantShape::Oauth1) {
            for (at, there) in [("oauth1", file.oauth1.is_there()), ("request_token", file.request_token.is_some())] {
                if there {
                    self.fault(at, "is for `grant = \"oauth1\"` alone");
                }
            }
            return None;
        }
        let request = file.request_token.as_ref().map(|shape| shape.request()).unwrap_or_default();
        let realm = match &file.oauth1.realm {
            Some(text) => Some(self.template("oauth1.realm", text)?),
            None => None,
        };
        Some(Oauth1Spec {
            signature: signature(file.oauth1.signature_method.unwrap_or(SignatureShape::HmacSha1)),
            params_in: match file.oauth1.params_in.unwrap_or(ParamsInShape::Header) {
                ParamsInShape::Header => ParamsIn::Header,
                ParamsInShape::Query => ParamsIn::Query,
                ParamsInShape::Body => ParamsIn::Body,
            },
            realm,
            confirms_callback: file.oauth1.callback_confirmed.unwrap_or(true),
            request_token: self.request("request_token", &request, None)?,
        })
    }
}

fn signature(shape: SignatureShape) -> SignatureMethod {
    match shape {
        SignatureShape::HmacSha1 => SignatureMethod::HmacSha1,
        SignatureShape::HmacSha256 => SignatureMethod::HmacSha256,
        SignatureShape::RsaSha1 => SignatureMethod::RsaSha1,
        SignatureShape::RsaSha256 => SignatureMethod::RsaSha256,
        SignatureShape::Plaintext => SignatureMethod::Plaintext,
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::provider::request::{ClientAuth, ClientSecret, PkceUse};
    use crate::domain::provider::{Provider, RefreshClass};
    use crate::oauth::provider_file::testing::try_defined;

    const LEAST: &str = r#"
        name = "Acme"
        grant = "oauth1"
        authorize.url = "https://acme.example/authorize"
        token.url = "https://acme.example/token"
    "#;

    fn try_acme(changes: &str) -> Result<Provider, String> {
        try_defined(&format!("{LEAST}{changes}"))
    }

    #[test]
    fn three_urls_are_enough() {
        let provider = try_acme("request_token.url = \"https://acme.example/initiate\"").unwrap();
        let spec = provider.spec();
        assert_eq!((spec.authorize.pkce, spec.token.client_auth), (PkceUse::Off, ClientAuth::Off));
        assert_eq!((spec.client_secret, spec.refresh.class()), (ClientSecret::Required, RefreshClass::None));
        assert_eq!((spec.callback.code_param.as_str(), spec.usage.scheme.as_str()), ("oauth_verifier", "OAuth"));
        assert_eq!((spec.response.fields.access_token[0].path.as_str(), spec.callback.denied.len()), ("/oauth_token", 1));
    }

    #[test]
    fn each_rule_is_held_and_tells_where() {
        let initiate = "request_token.url = \"https://acme.example/initiate\"\n";
        for (changes, tells) in [
            ("", "request_token.url: is missing"),
            ("request_token.url = \"https://acme.example/{scope}/{code}\"", "request_token.url: `{code}` is not declared"),
            (
                "request_token = { url = \"https://acme.example/i\", client_auth = \"post\" }",
                "request_token.client_auth: is not for",
            ),
            (
                "request_token = { url = \"https://acme.example/i\", params = { oauth_callback = \"x\" } }",
                "is the protocol's own",
            ),
            ("token.client_auth = \"basic\"", "token.client_auth: is not for OAuth 1.0a"),
            ("token.params = { a = \"{client_secret}\" }", "token.params.a: `{client_secret}` is not declared"),
            ("token.params = { a = \"{code}\" }", "token.params.a: `{code}` is not declared"),
            ("token.client_secret = \"optional\"", "token.client_secret: must be required"),
            ("authorize.pkce = \"required\"", "authorize.pkce: is not of OAuth 1.0a"),
            ("authorize.nonce = true", "authorize.nonce: is not of OAuth 1.0a"),
            ("authorize.drop = [\"oauth_token\"]", "authorize.drop: drops `oauth_token`"),
            ("callback.form_post = true", "callback.form_post: is not of OAuth 1.0a"),
            ("refresh.class = \"nonrotating\"", "refresh.class: is not of OAuth 1.0a"),
            ("extend.url = \"https://acme.example/e\"", "extend: is not of OAuth 1.0a"),
            ("response.keep = { s = \"/oauth_token_secret\" }", "response.keep.s: would keep a token"),
            ("oauth1 = { realm = \"{client_secret}\" }", "oauth1.realm: `{client_secret}` is not declared"),
            ("oauth1 = { realm = \"r\", params_in = \"query\" }", "oauth1.realm: stands in the header"),
            ("oauth1.signature_method = \"RSA-SHA1\"", "oauth1.signature_method: needs the param `private_key`"),
            ("oauth1.signature_method = \"HMAC-MD5\"", "unknown value `HMAC-MD5`"),
        ] {
            let whole = if changes.contains("request_token") || changes.is_empty() {
                changes.to_owned()
            } else {
                format!("{initiate}{changes}")
            };
            let said = try_acme(&whole).map(|_| "nothing".to_owned()).unwrap_or_else(|said| said);
            assert!(said.contains(tells), "{changes}\n  should tell {tells:?}, tells {said}");
        }
    }

    #[test]
    fn an_rsa_client_has_a_key_and_no_secret() {
        let key = "params.private_key = { title = \"K\", kind = \"private_key\", needed_by = \"integration\" }";
        let initiate = "request_token.url = \"https://acme.example/initiate\"";
        let provider = try_acme(&format!("{initiate}\noauth1.signature_method = \"RSA-SHA1\"\n{key}")).unwrap();
        assert_eq!(provider.client_secret(), ClientSecret::Unused);
        assert!(provider.spec().params["private_key"].secret);
    }

    #[test]
    fn its_blocks_are_for_it_alone() {
        let other = "grant = \"authorization_code\"\nauthorize.pkce = \"off\"\nrefresh.class = \"none\"\n";
        for block in ["oauth1.realm = \"r\"", "request_token.url = \"https://acme.example/i\""] {
            let faults = try_defined(&format!("{}{other}{block}", LEAST.replace("grant = \"oauth1\"", ""))).unwrap_err();
            assert!(faults.contains("is for `grant = \"oauth1\"` alone"), "{faults}");
        }
    }
}
