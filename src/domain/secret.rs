//! Secrets in memory. A [`SecretString`] is zeroized on drop, prints no content in `Debug` and has
//! no `Serialize`; the one place that writes secrets out is the sealed storage, which names
//! [`sealed_text`] and [`sealed_option`] field by field.

pub use secrecy::{ExposeSecret, SecretString};

/// `#[serde(with = "sealed_text")]`: for fields of records that are sealed whole, nowhere else.
pub mod sealed_text {
    use secrecy::{ExposeSecret, SecretString};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose_secret())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
        String::deserialize(from).map(SecretString::from)
    }
}

/// As [`sealed_text`], for a secret that may be absent.
pub mod sealed_option {
    use secrecy::{ExposeSecret, SecretString};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(secret: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(ExposeSecret::expose_secret).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(SecretString::from))
    }
}

/// As [`sealed_text`], for a map whose values are secrets (a provider's own settings).
pub mod sealed_map {
    use std::collections::BTreeMap;

    use secrecy::{ExposeSecret, SecretString};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(secrets: &BTreeMap<String, SecretString>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(secrets.iter().map(|(name, secret)| (name, secret.expose_secret())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, SecretString>, D::Error> {
        let plain = BTreeMap::<String, String>::deserialize(from)?;
        Ok(plain.into_iter().map(|(name, value)| (name, value.into())).collect())
    }
}
