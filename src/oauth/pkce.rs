//! Proof Key for Code Exchange (RFC 7636). The randomness is handed in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::domain::provider::PkceUse;
use crate::domain::secret::SecretString;

/// The verifier that is kept, and the challenge that is shown.
#[derive(Debug, Clone)]
pub struct Pkce {
    pub verifier: SecretString,
    pub challenge: String,
}

impl Pkce {
    /// A verifier of 43 characters (RFC 7636 4.1) and its S256 challenge (4.2).
    pub fn from_random(random: [u8; 32]) -> Self {
        let verifier = URL_SAFE_NO_PAD.encode(random);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        Self { verifier: verifier.into(), challenge }
    }

    /// What a provider's file asks for: nothing, S256, or the verifier itself as the challenge.
    pub fn for_use(pkce: PkceUse, random: [u8; 32]) -> Option<Self> {
        match pkce {
            PkceUse::Off => None,
            PkceUse::Required | PkceUse::Optional => Some(Self::from_random(random)),
            PkceUse::Plain => {
                let verifier = URL_SAFE_NO_PAD.encode(random);
                Some(Self { challenge: verifier.clone(), verifier: verifier.into() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::ExposeSecret;

    #[test]
    fn the_vector_of_rfc_7636_appendix_b() {
        let random = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105, 214, 191, 240, 91,
            88, 5, 88, 83, 132, 141, 121,
        ];
        let pkce = Pkce::from_random(random);
        assert_eq!(pkce.verifier.expose_secret(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(pkce.challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn plain_shows_the_verifier_and_off_has_none() {
        let plain = Pkce::for_use(PkceUse::Plain, [7; 32]).unwrap();
        assert_eq!(plain.verifier.expose_secret(), plain.challenge);
        assert!(Pkce::for_use(PkceUse::Off, [7; 32]).is_none());
        assert_ne!(Pkce::for_use(PkceUse::Optional, [7; 32]).unwrap().challenge, plain.challenge);
    }
}
