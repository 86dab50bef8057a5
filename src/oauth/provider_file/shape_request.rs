//! The blocks of a provider file that draw a request, as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shape::{Pointers, ResponseShape, Scalar};

/// Defines a block that draws a request, with further keys of its own. (serde cannot flatten and
/// refuse unknown keys at once.)
macro_rules! request_shape {
    ($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$meta])* pub $field: $type,)*
            pub method: Option<MethodShape>,
            pub url: Option<String>,
            pub client_auth: Option<ClientAuthShape>,
            pub basic: Option<BasicShape>,
            pub basic_user: Option<String>,
            pub basic_pass: Option<String>,
            pub client_id_in_body: Option<bool>,
            pub body: Option<BodyShape>,
            pub headers: Option<BTreeMap<String, String>>,
            pub params: Option<BTreeMap<String, Scalar>>,
            pub rename: Option<BTreeMap<String, String>>,
            pub drop: Option<Vec<String>>,
        }

        impl $name {
            pub fn request(&self) -> RequestShape {
                RequestShape {
                    method: self.method,
                    url: self.url.clone(),
                    client_auth: self.client_auth,
                    basic: self.basic,
                    basic_user: self.basic_user.clone(),
                    basic_pass: self.basic_pass.clone(),
                    client_id_in_body: self.client_id_in_body,
                    body: self.body,
                    headers: self.headers.clone(),
                    params: self.params.clone(),
                    rename: self.rename.clone(),
                    drop: self.drop.clone(),
                }
            }
        }
    };
}

request_shape!(RequestShape {});

request_shape!(TokenShape {
    client_secret: Option<ClientSecretShape>,
});

request_shape!(RefreshShape {
    class: Option<ClassShape>,
    with: Option<WithShape>,
    min_age: Option<String>,
    grace: Option<String>,
    #[serde(default)]
    kills_access: bool,
    max_age: Option<String>,
    idle_max: Option<String>,
    rate: Option<String>,
    note: Option<String>,
    #[serde(default)]
    response: ResponseShape,
});

request_shape!(RevokeShape {
    token: Option<RevokedShape>,
    param: Option<String>,
    #[serde(default)]
    hint: bool,
    ends: Option<EndsShape>,
});

request_shape!(IntrospectShape {
    param: Option<String>,
    hint: Option<bool>,
    active: Option<Pointers>,
    expires_at: Option<Pointers>,
    issued_at: Option<Pointers>,
    expires_in: Option<Pointers>,
});

request_shape!(LookupShape {
    name: Option<String>,
    token_set: Option<String>,
    #[serde(default)]
    keep: BTreeMap<String, String>,
    subject: Option<Pointers>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    first: bool,
});

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClientSecretShape {
    Required,
    Optional,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MethodShape {
    Get,
    Post,
    Put,
    Delete,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClientAuthShape {
    Post,
    Basic,
    PrivateKeyJwt,
    ClientSecretJwt,
    None,
    Off,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BasicShape {
    Encoded,
    Raw,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BodyShape {
    Form,
    Json,
    Query,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClassShape {
    None,
    Nonrotating,
    RotateGrace,
    RotatePlain,
    RotateStrict,
    Unknown,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WithShape {
    RefreshToken,
    AccessToken,
    Client,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RevokedShape {
    RefreshToken,
    AccessToken,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndsShape {
    Grant,
    AccessToken,
}
