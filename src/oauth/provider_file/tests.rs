//! Each rule of a file, broken once; and files that nobody would write.

use proptest::prelude::*;

use super::testing::try_acme;
use super::*;

/// Changes that break a rule, and what the author is told.
const BROKEN: &[(&str, &str)] = &[
    ("authorize.url = \"http://acme.example/\"", "authorize.url: must begin with https://"),
    ("token.url = \"https://{x}.acme.example/\"", "`{x}` stands in the host"),
    ("token.url = \"https://acme.example/{x}\"", "`{x}` is not declared for this place"),
    ("token.url = \"https://acme.example/{code}\"", "`{code}` is not declared for this place"),
    ("token.url = \"https://acme.example/{client_secret}\"", "`{client_secret}` is not declared"),
    ("token.url = \"https://acme.example/{sha256(client_secret)}\"", "`{client_secret}` is not declared"),
    ("token.params = { a = \"{sha265(code)}\" }", "has `sha265(…)`, which is no function; known are"),
    ("token.params = { a = \"{sha256(cod)}\" }", "`{cod}` is not declared"),
    ("authorize.params = { a = \"{now}\" }", "`{now}` is not declared"),
    ("token.headers = { Host = \"x\" }", "token.headers.Host: is not a header that a file may set"),
    ("token.headers = { Cookie = \"x\" }", "is not a header that a file may set"),
    ("token.headers = { \"X:Y\" = \"x\" }", "is not a header that a file may set"),
    ("token.params = { a = \"{refresh_token}\" }", "token.params.a: `{refresh_token}` is not declared"),
    ("token.params = { a = \"{callback.realm}\" }", "`{callback.realm}` is not declared"),
    ("refresh.params = { a = \"{code}\" }", "refresh.params.a: `{code}` is not declared"),
    ("token.params = { a = \"{metadata.realm}\" }", "`{metadata.realm}` is not declared"),
    ("callback.keep = [\"realm\"]\nauthorize.params = { a = \"{callback.realm}\" }", "`{callback.realm}` is not declared"),
    ("refresh.params = { a = \"{metadata.realm}\" }", "refresh.params.a: `{metadata.realm}` is not declared"),
    (
        "after_connect = [{ name = \"n\", url = \"https://acme.example/{metadata.id}\", keep = { id = \"/id\" } }]",
        "after_connect.0.url: `{metadata.id}` is not declared",
    ),
    ("authorize.params = { a = \"{client_secret}\" }", "authorize.params.a: `{client_secret}` is not declared"),
    ("authorize.drop = [\"state\"]", "authorize.drop: drops `state`"),
    ("authorize.scopes = { default = [\"a b\"] }", "is empty or joined of several"),
    ("authorize.scopes = { separator = \",\", examples = [\"a\", \"b c\"] }", "the scope \"b c\" is empty or joined of several"),
    ("authorize.scopes.always = [\"a,b\"]", "where the separator is \" \""),
    ("test = [{ step = \"refresh\", scopes = [\"a\", \"b,c\"] }]", "test.0.scopes: \"b,c\" is joined of several"),
    (
        "test = [{ step = \"authorize\", scopes = [\"a\", \"b\"], url = \"https://acme.example/authorize?scope=a%2Cb\" }]",
        "test.0.url: joins its scopes as in \"a,b\", where the separator is \" \"",
    ),
    (
        "authorize = { rename = { scope = \"s\" }, scopes = { separator = \",\" } }\ntest = [{ step = \"authorize\", url = \"https://acme.example/authorize?s=a+b\" }]",
        "test.0.url: joins its scopes as in \"a b\"",
    ),
    ("authorize.scopes = { separator = \"\" }", "authorize.scopes.separator: must have"),
    ("refresh.class = \"rotate_grace\"", "refresh.grace: must be there"),
    ("refresh.grace = \"10m\"", "refresh.grace: must be there for the class"),
    ("refresh.max_age = \"10 days\"", "refresh.max_age: must be a whole number"),
    ("refresh.max_age = \"0d\"", "refresh.max_age: must be a whole number"),
    ("refresh.max_age = \"1000001d\"", "refresh.max_age: must be a whole number"),
    ("refresh.max_age = \"5é\"", "refresh.max_age: must be a whole number"),
    ("response.keep = { a = \"/access_token\" }", "response.keep.a: would keep a token"),
    ("response.keep = { a = \"\" }", "response.keep.a: would keep a token"),
    ("response.keep = { a = \"b\" }", "is not a JSON pointer"),
    ("response.sets = { \"NO\" = \"\" }", "response.sets.NO"),
    ("response = { at = \"/a\", sets = { b = \"\" } }", "response.at: says where the one set is"),
    ("refresh.response.sets = { other = \"\" }", "refresh.response.sets.other: is not a token set"),
    ("errors.dead_grant = [{}]", "errors.dead_grant.0: is empty"),
    ("errors.dead_grant = [{ equals = 1 }]", "has no `pointer`"),
    ("errors.dead_grant = [{ pointer = \"/a\", equals = 1, contains = \"x\" }]", "both `equals` and `contains`"),
    ("params.p = { title = \"P\", kind = \"text\", needed_by = \"link\" }", "params.p: needs an `example`"),
    (
        "params.code = { title = \"P\", kind = \"text\", needed_by = \"link\", example = \"x\" }",
        "params.code: is a name that the engine uses",
    ),
    (
        "params.p = { title = \"P\", kind = \"text\", needed_by = \"link\", example = \"x\", secret = true }",
        "params.p: is secret",
    ),
    ("params.p = { title = \"P\", kind = \"guid\", needed_by = \"link\", example = \"x\" }", "params.p.example: must be a GUID"),
    ("params.p = { title = \"P\", kind = \"text\", pattern = \"[\", needed_by = \"link\", example = \"x\" }", "params.p.pattern"),
    ("params.p = { title = \"P\", kind = \"enum\", needed_by = \"link\" }", "params.p: needs `options`"),
    ("params.p = { title = \"P\", kind = \"enum\", options = [\"a/b\"], needed_by = \"link\" }", "params.p.options"),
    (
        "params.p = { title = \"P\", kind = \"enum\", options = { a = { x = \"1\" }, b = { y = \"1\" } }, needed_by = \"link\" }",
        "params.p.options: must each stand for values of the same names",
    ),
    (
        "params.p = { title = \"P\", kind = \"enum\", options = { a = { x = \"a/b\" } }, needed_by = \"link\" }",
        "params.p.options: may stand for",
    ),
    (
        "params.p = { title = \"P\", kind = \"enum\", options = { a = { x = \"1\" } }, needed_by = \"link\" }\ntoken.url = \"https://acme.example/{p}\"",
        "token.url: `{p}` is not declared",
    ),
    ("authorize.params_in_fragment = true", "authorize.fragment: is missing"),
    ("authorize.fragment = \"a#b\"", "authorize.fragment: must be"),
    ("token.basic_user = \"{client_secret}\"", "token.basic_user: is for"),
    ("token = { client_auth = \"basic\", basic_user = \"{x}\" }", "token.basic_user: `{x}` is not declared"),
    ("callback.hosts = { server = \"label\" }", "callback.hosts.server: must be one of `callback.keep`"),
    ("callback = { keep = [\"s\"], hosts = { s = [] } }", "callback.hosts.s: must list"),
    ("callback = { keep = [\"s\"], hosts = { s = [\"com\"] } }", "callback.hosts.s: must list"),
    ("callback.keep = [\"s\"]\ntoken.url = \"https://{callback.s}/t\"", "`{callback.s}` stands in the host"),
    (
        "callback = { keep = [\"s\"], hosts = { s = \"label\" } }\ntoken.url = \"https://{callback.s}/t\"",
        "`{callback.s}` stands in front of a domain",
    ),
    (
        "callback = { keep = [\"s\"], hosts = { s = \"label\" } }\ntoken.url = \"https://{callback.s}.com/t\"",
        "`{callback.s}` stands in front of a domain",
    ),
    (
        "callback = { keep = [\"s\"], hosts = { s = [\"acme.com\"] } }\ntoken.url = \"https://{callback.s}.evil.example/t\"",
        "`{callback.s}` is a whole host",
    ),
    (
        "callback = { keep = [\"s\"], hosts = { s = [\"acme.com\"] } }\nauthorize.url = \"https://{callback.s}/a\"",
        "`{callback.s}` stands in the host",
    ),
    ("callback.signature = \"hmac\"\ntoken.client_secret = \"optional\"", "callback.signature: is keyed"),
    ("refresh = { with = \"access_token\", class = \"none\" }", "refresh.with: says with what"),
    ("refresh = { with = \"access_token\", params = { a = \"{refresh_token}\" } }", "`{refresh_token}` is not declared"),
    ("refresh.with = \"access_token\"\nresponse.sets = { a = \"/a\", b = \"/b\" }", "response.sets: must be one"),
    ("extend = { params = { a = \"{access_token}\" } }", "extend.url: is missing"),
    ("extend = { url = \"https://acme.example/{access_token}\" }", "extend.url: `{access_token}` is not declared"),
    ("extend = { url = \"https://acme.example/e\" }\ntest = []", "an `extend` test with its `request` is missing"),
    ("callback.denied = { code = \"\" }", "callback.denied.code: is the code's own param"),
    (
        "params.metadata = { title = \"P\", kind = \"text\", needed_by = \"link\", example = \"x\" }",
        "params.metadata: is a name that the engine uses",
    ),
    ("grant = \"device_code\"", "device: is missing"),
    ("device.url = \"https://acme.example/d\"", "device: is for `grant = \"device_code\"` alone"),
    ("grant = \"device_code\"\ndevice = {}", "device.url: is missing"),
    (
        "grant = \"device_code\"\ndevice = { url = \"https://acme.example/d\", params = { a = \"{code}\" } }",
        "device.params.a: `{code}` is not declared",
    ),
    (
        "grant = \"device_code\"\ndevice.url = \"https://acme.example/d\"\ntoken.params = { a = \"{code}\" }",
        "token.params.a: `{code}` is not declared",
    ),
    ("token.params = { a = \"{device_code}\" }", "token.params.a: `{device_code}` is not declared"),
    (
        "grant = \"device_code\"\ndevice.url = \"https://acme.example/{device_code}\"",
        "device.url: `{device_code}` is not declared",
    ),
    (
        "grant = \"device_code\"\ndevice.url = \"https://acme.example/d\"\ntest = []",
        "a `device` test with its `request` is missing",
    ),
    ("grant = \"device_code\"\ndevice.url = \"https://acme.example/d\"\ninstall = {}", "install: is for `grant"),
    ("install.params.shop = {}", "install.params.shop: is not a param that is `needed_by"),
    (
        "params.p = { title = \"P\", kind = \"text\", needed_by = \"link\", example = \"x\" }\ninstall.params.p = { from = \"code\" }",
        "install.params.p.from: must name a param of the provider's request",
    ),
    (
        "params.status = { title = \"P\", kind = \"text\", needed_by = \"link\", example = \"x\" }\ninstall.params.status = {}",
        "install.params.status: is a name that the engine uses",
    ),
    (
        "params.p = { title = \"P\", kind = \"text\", needed_by = \"link\", example = \"x\" }\ninstall.params.p = {}\ntest = []",
        "an `install` test with its `callback` is missing",
    ),
    ("grant = \"password\"", "unknown value `password`"),
    (
        "after_connect = [{ name = \"n\", subject = \"/id\", url = \"https://acme.example/me?a={client_secret}\" }]",
        "after_connect.0.url: `{client_secret}` is not declared",
    ),
    (
        "after_connect = [{ name = \"n\", subject = \"/id\", url = \"https://acme.example/me?a={sha256(client_secret)}\" }]",
        "after_connect.0.url: `{client_secret}` is not declared",
    ),
    (
        "after_connect = [{ name = \"n\", subject = \"/id\", url = \"https://acme.example/me?a={hmac_sha256(client_secret,access_token)}{access_token}\" }]",
        "after_connect.0.url: `{access_token}` is not declared",
    ),
    (
        "after_connect = [{ name = \"n\", subject = \"/id\", url = \"https://acme.example/me\", params = { a = \"{client_secret}\" } }]",
        "after_connect.0.params.a: `{client_secret}` is not declared",
    ),
    (
        "after_connect = [{ name = \"n\", subject = \"/id\", url = \"https://acme.example/me?a={hmac_sha256(client_secret,code)}\" }]",
        "after_connect.0.url: `{code}` is not declared",
    ),
    (
        "authorize.url = \"https://acme.example/a?b={hmac_sha256(client_secret,state)}\"",
        "authorize.url: `{client_secret}` is not declared",
    ),
    ("refresh.min_interval = \"1m\"", "unknown key `min_interval`; did you mean `min_age`?"),
    ("grant = \"client_credentials\"", "authorize.url: has no use here"),
    ("grant = \"client_credentials\"\ncallback.keep = [\"a\"]", "callback.keep: has no use here"),
    ("grant = \"client_credentials\"\nrefresh.with = \"access_token\"", "refresh.with: must be \"client\""),
    ("grant = \"client_credentials\"", "refresh.class: must be \"nonrotating\""),
    ("grant = \"jwt_bearer\"", "authorize.url: has no use here"),
    ("refresh.with = \"client\"", "refresh.class: must be \"nonrotating\""),
    (
        "refresh = { with = \"client\", class = \"nonrotating\", params = { a = \"{access_token}\" } }",
        "refresh.params.a: `{access_token}` is not declared",
    ),
    (
        "refresh = { with = \"client\", class = \"nonrotating\" }\nresponse.sets = { a = \"/a\", b = \"/b\" }",
        "response.sets: must be one",
    ),
    ("token.client_auth = \"private_key_jwt\"", "client_assertion: is missing"),
    ("token.client_auth = \"client_secret_jwt\"", "client_assertion: is missing"),
    (
        "client_assertion.audience = \"endpoint\"\ntoken.client_auth = \"private_key_jwt\"",
        "client_assertion.key: `private_key` is no key",
    ),
    (
        "client_assertion.key = \"client_secret\"\ntoken.client_auth = \"client_secret_jwt\"",
        "client_assertion.audience: is missing",
    ),
    ("client_assertion = { audience = \"endpoint\", key = \"client_secret\" }", "client_assertion: is used by no request"),
    (
        "client_assertion = { audience = \"endpoint\", key = \"client_secret\" }\ntoken = { client_auth = \"private_key_jwt\", client_secret = \"required\" }",
        "client_assertion.key: is one for `client_auth = \"client_secret_jwt\"`",
    ),
    (
        "client_assertion = { audience = \"endpoint\", ttl = \"61s\" }\ntoken.client_auth = \"client_secret_jwt\"",
        "client_assertion.ttl: must be at most 60s",
    ),
    (
        "client_assertion = { audience = \"endpoint\", claims = { aud = \"x\" } }\ntoken.client_auth = \"client_secret_jwt\"",
        "client_assertion.claims.aud: is what",
    ),
    (
        "client_assertion.audience = \"http://acme.example\"\ntoken.client_auth = \"client_secret_jwt\"",
        "client_assertion.audience: must begin with https",
    ),
    (
        "client_assertion.audience = \"https://acme.example/{code}\"\ntoken.client_auth = \"client_secret_jwt\"",
        "client_assertion.audience: `{code}` is not declared",
    ),
    (
        "client_assertion.audience = \"endpoint\"\ntoken = { client_auth = \"client_secret_jwt\", drop = [\"client_assertion\"] }",
        "token.drop: drops the client's proof",
    ),
    ("jwt.a = { key = \"client_secret\" }", "jwt.a: is in no param and no header"),
    ("jwt.\"a.b\" = { key = \"client_secret\" }", "must be a name of letters"),
    ("token.params = { a = \"{jwt.a}\" }", "`{jwt.a}` is not declared for this place; known here: "),
    ("jwt.ab = { key = \"client_secret\" }\ntoken.params = { a = \"{jwt.a}{jwt.ab}\" }", "jwt.ab, "),
    ("jwt.a = { key = \"client_secret\" }\ntoken.url = \"https://acme.example/{jwt.a}\"", "token.url: `{jwt.a}` is not declared"),
    (
        "jwt.a = { key = \"client_secret\" }\nauthorize.params = { a = \"{jwt.a}\" }",
        "authorize.params.a: `{jwt.a}` is not declared",
    ),
    ("jwt.a = { alg = \"RS265\" }", "unknown value `RS265`; did you mean `RS256`?"),
    ("jwt.a = { alg = \"RS256\", key = \"client_secret\" }\ntoken.params = { a = \"{jwt.a}\" }", "jwt.a.key: is a shared secret"),
    (
        "jwt.a = { key = \"client_secret\" }\ntoken = { client_auth = \"none\", params = { a = \"{jwt.a}\" } }",
        "jwt.a.key: is the client secret, which",
    ),
    (
        "jwt.a = { key = \"client_secret\", header = { alg = \"none\" } }\ntoken.params = { a = \"{jwt.a}\" }",
        "jwt.a.header.alg: is not for a file to say",
    ),
    ("jwt.a = { key = \"client_secret\", drop = [\"aud\"] }\ntoken.params = { a = \"{jwt.a}\" }", "jwt.a.drop: names `aud`"),
    (
        "jwt.a = { key = \"client_secret\", claims = { a = \"{client_secret}\" } }\ntoken.params = { a = \"{jwt.a}\" }",
        "jwt.a.claims.a: `{client_secret}` is not declared",
    ),
    (
        "jwt.a = { key = \"client_secret\", claims = { a = \"{jwt.a}\" } }\ntoken.params = { a = \"{jwt.a}\" }",
        "jwt.a.claims.a: `{jwt.a}` is not declared",
    ),
    ("jwt.a = { key = \"client_secret\", ttl = \"367d\" }\ntoken.params = { a = \"{jwt.a}\" }", "jwt.a.ttl: must be at most"),
    (
        "params.p = { title = \"P\", kind = \"private_key\", needed_by = \"integration\" }",
        "params.p: is a private key that signs nothing",
    ),
    ("params.p = { title = \"P\", kind = \"private_key\", needed_by = \"link\" }", "params.p.needed_by: must be `integration`"),
    (
        "params.p = { title = \"P\", kind = \"private_key\", needed_by = \"integration\", example = \"x\" }",
        "params.p: is a private key: it has no",
    ),
    (
        "params.p = { title = \"P\", kind = \"private_key\", needed_by = \"integration\" }\njwt.a.key = \"p\"\ntoken.params = { a = \"{jwt.a}\", b = \"{p}\" }",
        "token.params.b: `{p}` is not declared",
    ),
    (
        "params.p = { title = \"P\", kind = \"private_key\", needed_by = \"integration\" }\njwt.a = { key = \"p\", alg = \"HS256\" }\ntoken.params = { a = \"{jwt.a}\" }",
        "jwt.a.key: is a private key, which",
    ),
    (
        "params.jwt = { title = \"P\", kind = \"text\", needed_by = \"link\", example = \"x\" }",
        "params.jwt: is a name that the engine uses",
    ),
    ("docs = \"http://acme.example\"", "docs: must be an https link"),
    ("categories = []", "categories: must name"),
    ("name = \"\"", "name: must be 1 to"),
    ("checked = 2026-01-02T03:04:05Z", "checked: must be a date"),
    ("test = []", "an `authorize` test with its `url` is missing"),
    ("revoke.param = \"t\"", "revoke.url: is missing"),
    (
        "after_connect = [{ name = \"n\", url = \"https://acme.example/me\" }]",
        "after_connect.0: looks something up and keeps nothing",
    ),
    (
        "after_connect = [{ name = \"n\", url = \"https://acme.example/me\", subject = \"/id\", first = true }]",
        "after_connect.0.first: is for look-ups",
    ),
    (
        "after_connect = [{ name = \"n\", url = \"https://acme.example/me\", subject = \"/id\", token_set = \"x\" }]",
        "after_connect.0.token_set",
    ),
    ("use.base_url = \"{instance}\"", "use.base_url: `{instance}` is neither a param nor a kept value"),
    ("token.method = \"get\"", "token.body: must be \"query\""),
    ("callback.issuer = \"acme\"", "callback.issuer: must be an https URL"),
    (
        "response.scope = [\"/1\", \"/2\", \"/3\", \"/4\", \"/5\", \"/6\", \"/7\", \"/8\", \"/9\", \"/10\", \"/11\"]",
        "response.scope: has 11 entries; at most 10",
    ),
    (
        "params.p = { title = \"P\", kind = \"text\", pattern = \"(.{0,100}){0,100}\", needed_by = \"link\", example = \"x\" }",
        "params.p.pattern",
    ),
];

#[test]
fn each_rule_is_held_and_tells_where() {
    assert!(try_acme("").is_ok());
    for (change, told) in BROKEN {
        let faults = try_acme(change).expect_err(change);
        assert!(faults.iter().any(|fault| fault.contains(told)), "{change}\n  should tell {told:?}, tells {faults:?}");
    }
}

#[test]
fn what_has_no_fault_is_let_through() {
    for change in [
        "params.p = { title = \"P\", kind = \"subdomain\", needed_by = \"link\", example = \"x\" }\ntoken.url = \"https://{p}.acme.example/{p}?{p}={p}\"",
        "params.p = { title = \"P\", kind = \"origin\", needed_by = \"integration\", example = \"https://a.example\" }\ntoken.url = \"{p}/t\"",
        "callback.keep = [\"realm\"]\ntoken.params = { a = \"{callback.realm}\", s = \"{state}{scope}\" }\nrefresh.params = {}",
        "callback.keep = [\"realm\"]\ntoken.url = \"https://acme.example/{callback.realm}/token\"",
        "response.keep = { id = \"/id\" }\nrefresh.params = { a = \"{metadata.id}{redirect_uri}\" }",
        "refresh.class = \"none\"",
        "grant = \"authorization_code\"",
        "grant = \"device_code\"\ndevice.url = \"https://acme.example/d\"\ntoken.params = { a = \"{device_code}\" }\nrefresh.params = {}",
        "install = {}",
        "params.p = { title = \"P\", kind = \"text\", needed_by = \"link\", example = \"x\" }\ninstall.params.p = { from = \"q\", suffix = \".x\" }",
        "callback = { keep = [\"s\"], hosts = { s = \"label\" } }\ntoken.url = \"https://{callback.s}.acme.com/t\"",
        "callback = { keep = [\"s\"], hosts = { s = [\"acme.com\"] } }\ntoken.url = \"https://{callback.s}/t\"",
        "params.p = { title = \"P\", kind = \"enum\", options = { a = { api = \"a.example\", v = \"1\" }, b = { api = \"b.example\", v = \"2\" } }, needed_by = \"link\" }\ntoken.url = \"https://{p.api}/{p.v}\"",
        "response.keep = { a = \"/access_token_kind\", b = \"id_token:/sub\" }",
    ] {
        try_acme(change).unwrap();
    }
}

fn shelf(files: &[(&str, &str)]) -> Shelf {
    let source = |name: &str, text: &str| Source { file: format!("{name}.toml"), text: text.to_owned() };
    files.iter().map(|(name, text)| (ProviderId::parse(name).unwrap(), source(name, text))).collect()
}

fn told(id: &str, files: &[(&str, &str)]) -> Vec<String> {
    let id = ProviderId::parse(id).unwrap();
    parse(&id, &shelf(files)).unwrap_err().iter().map(FileError::to_string).collect()
}

#[test]
fn a_family_is_merged_and_a_circle_is_found() {
    let orphan = told("b", &[("b", "extends = \"a\"\n")]);
    assert_eq!(orphan, ["b.toml:1: extends: there is no provider file a.toml"]);
    let circle = told("a", &[("a", "extends = \"b\"\n"), ("b", "extends = \"a\"\n")]);
    assert!(circle[0].contains("a circle"), "{circle:?}");
    let parent = told("b", &[("a", "\n\nx = 1\n"), ("b", "extends = \"a\"\n")]);
    assert!(parent[0].starts_with("a.toml:3: unknown key `x`"), "{parent:?}");
    // Of the parent's own words nothing is inherited, of its blocks everything.
    let child = told(
        "b",
        &[("a", "name = \"A\"\n[token]\nurl = \"https://a.example/\"\n"), ("b", "extends = \"a\"\n[token]\nbody = \"json\"\n")],
    );
    assert!(child.contains(&"b.toml: name: is missing".to_owned()), "{child:?}");
    assert!(!child.iter().any(|fault| fault.contains("token.url")), "{child:?}");
}

#[test]
fn a_file_has_a_size() {
    let long = format!("# {}\nx = 1", "x".repeat(FILE_MAX));
    assert!(told("a", &[("a", &long)])[0].contains("is longer than"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,400}") {
        _ = parse(&ProviderId::parse("a").unwrap(), &shelf(&[("a", &text)]));
    }

    /// Pieces of real keys and odd values in odd places.
    #[test]
    fn no_arrangement_of_keys_makes_the_reader_panic(
        lines in prop::collection::vec((
            "(authorize|token|response|refresh|revoke|callback|errors|params[.]p|use|after_connect)[.](url|params|headers|keep|sets|scopes|class|grace|at|code|when|pattern|kind|x)",
            prop_oneof!["\"[{}/a-z:.é]{0,20}\"", "[0-9]{1,3}", "\\[\"[{}/a-z]{0,9}\"\\]", "\\{ a = \"[{}/a-z]{0,9}\" \\}"],
        ), 0..12)
    ) {
        let text: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        _ = try_acme(&text);
    }
}
