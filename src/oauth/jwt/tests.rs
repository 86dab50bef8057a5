//! Signatures that the standards print, keys in each form they come in, and what is sent in their place.

use super::*;
use crate::oauth::vectors::keys;

const RSA_PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0\nl8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pC\ngNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSX\nndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uD\nZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWNmoudF8NAco9/h9iaGNj8\nq2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQABAoIBABKucaRpzQorw35S\nbEUAVx8dYXUdZOlJcHtiWQ+dC6V8ljxAHj/PLyzTveyI5QO/xkObCyjIL303l2cf\nUhPu2MFaJdjVzqACXuOrLot/eSFvxjvqVidTtAZExqFRJ9mylUVAoLvhowVWmC1O\nn95fZCXxTUtxNEG1Xcc7m0rtzJKs45J+N/V9DP1edYH6USyPSWGp6wuA+KgHRnKK\nVf9GRx80JQY7nVNkL17eHoTWEwga+lwi0FEoW9Y7lDtWXYmKBWhUE+U8PGxlJf8f\n40493HDw1WRQ/aSLoS4QTp3rn7gYgeHEvfJdkkf0UMhlknlo53M09EFPdadQ4TlU\nbjqKc50CgYEA4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH/5IB3jw3bcxGn6QLvnE\ntfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw/Py5PJdTJNPY8cQn7ouZ2KKDcmnPG\nBY5t7yLc1QlQ5xHdwW1VhvKn+nXqhJTBgIPgtldC+KDV5z+y2XDwGUcCgYEAuQPE\nfgmVtjL0Uyyx88GZFF1fOunH3+7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYs\np1ZSe7zFYHj7C6ul7TjeLQeZD/YwD66t62wDmpe/HlB+TnBA+njbglfIsRLtXlnD\nzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdcCgYAHAp9XcCSrn8wVkMVkKdb7\nDOX4IKjzdahm+ctDAJN4O/y7OW5FKebvUjdAIt2GuoTZ71iTG+7F0F+lP88jtjP4\nU4qe7VHoewl4MKOfXZKTe+YCS1XbNvfgwJ3Ltyl1OH9hWvu2yza7q+d5PCsDzqtm\n27kxuvULVeya+TEdAB1ijQKBgQCH/3r6YrVH/uCWGy6bzV1nGNOdjKc9tmkfOJmN\n54dxdixdpozCQ6U4OxZrsj3FcOhHBsqAHvX2uuYjagqvo3cOj1TRqNocX40omfCC\nMx3bD1yPPf/6TI2XECva/ggqEY2mYzmIiA5LVVmc5nrybr+lssFKneeyxN2Wq93S\n0iJMdQKBgCGHewxzoa1r8ZMD0LETNrToK423K377UCYqXfg5XMclbrjPbEC3YI1Z\nNqMtuhdBJqUnBi6tjKMF+34Xf0CUN8ncuXGO2CAYvO8PdyCixHX52ybaDjy1FtCE\n6yUXjoKNXKvUm7MWGsAYH6f4IegOetN5NvmUMFStCSkh7ixZLkN1\n-----END RSA PRIVATE KEY-----";
const P256_SEC1: &str = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49\nAwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b\nfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n-----END EC PRIVATE KEY-----";
const P384_SEC1: &str = "-----BEGIN EC PRIVATE KEY-----\nMIGkAgEBBDBrnT2tLhuMHAWxmHW2ZZ9N4jw7Znvyl7qapHdAeHE32JbVck5McKgl\n+HLJ6mDS7fWgBwYFK4EEACKhZANiAATsOk5BW04ZpFaGGAKfQn+l2pqLxK6S4C4G\nquUoazAMZN748OqQVYZgZKJUUVSAvBOAFdm3LX1XJE6o75rAxiGJZwilk2f537n1\nTKhLPxydsSiLIxw64NT+c0T9JTMmRyA=\n-----END EC PRIVATE KEY-----";
const RSA_1024: &str = "-----BEGIN PRIVATE KEY-----\nMIICdAIBADANBgkqhkiG9w0BAQEFAASCAl4wggJaAgEAAoGBAJNBqJtCR7JY1Arp\nn91LCKqCsSNgQXeKfydJAJ/YrJgcaULIZebQvpOyYzByGBfGeNMuX3DSfZ/6EXK8\nnJTtpR1g/Gj22Y6cA4igHOzkPnT59r6zGM/uFmNestNFPjWU++uhcQBzchrmg7gM\nDN/UEtnT8pCUpqwVQ3xL3RWyjY4BAgMBAAECgYAcKkfMgm3iL9lGyQ6ZrftXWa31\n3ThIXAYcBnuHF1NTuMNtUZUkA7Mf3tPX9UqkaYK8qbb5hlke2x6xOmAcoCOfY6Gb\nUF2G7TqwbgEhdLVZ6aj18P/pJ4tsSTnxgNao9A4xIRzAZZjJETK2XWvlhhFeAQnU\nBdjMqzwBnOihQbRkQQJBAMQm+KWGc/cj5CPq/FCC0su2kW4NXJ1nVGmorsez8gT2\n2fBnKDsUlfblNLEZ3e2WWqm4lmYNtt73U6JhZWl+ovkCQQDAL4uaZpTb8P0Lcx63\nK6PVrfUmC8Du2MPpFmwTqjWenoB/4hdmuKxU+2zoaapESmCvkgoJaUKSsmtDOJ3g\nqf1JAj8ZSOzEaZCJSxcdiiz8M+D4YZBdn1tQ7wDyncvp8khAW5G8a4/EDeNG8ETa\nj3sMJVWKi0DX5uyr0TX2uJdaAfkCQBwBUaiINjzumxEmD13FwDQNC2Il6FFlyPaY\nS9t5vCKHGlaITbysQICJus8LRsJ4zCoJb+j7K7ZQxYygHXF1k/ECQHKCrNIIBU5y\nTrrTNdsJeRBQSzh68VSyohIRo2R+1Eahjul/92ELqNoAq/EJalDoyOkkbEgl9LhA\nNZvNqaBf7qE=\n-----END PRIVATE KEY-----";
const K256: &str = "-----BEGIN PRIVATE KEY-----\nMIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQglx7y8sCIP51kWtDgKzg1\nX6srcjg9e1MzA0y5srQSpSWhRANCAAQaaZi/VZbZV1W+LwNNKcXCBusmyNfrteBi\n75DhKXCISYHJAuKxdu1HiJSmxcnFtfXF5X/RgXbscr6H1I82QE5b\n-----END PRIVATE KEY-----";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\nNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\nP1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\nEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\nFvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\noQIDAQAB\n-----END PUBLIC KEY-----";
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIH0MF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBAAmEUnbTOxB7XZhG/Z\n5AQ8AgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQsFlSyTuCSU0MO/e8\nXVtr5QSBkH/cOzGv76kwM5HJ9qTQiIucipv1ZUhWzrUjpkWDfXsqkBHm5oA1Lu4f\nwCwc2HoTRZLVhACeqB7svcq/2K7Tq75tvheiz5tGJ7EUalKB3x3NF+fyJ/Ivc/bv\nTLiVUDcoantpBoyb+/1BeHUzK9iJhPkNLU08Y0jSp53v2drD8QgIRGWY2TYpl14C\nlFkAbW9FBA==\n-----END ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_OLD: &str = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,317C63AEACBF804961ABE7D4084435C2\n\npcDEV18qfaZxO8gJB/ISjTc+1CI+lquH11A0cvmiEdG6zBjy25mYh4b9HPAcBFlh\nszI5JrNIN95Ru5gh6UtzSI7iC8+pgZAFxJSWyU1XS8g7QKMNzM3bdLvyPcs1h2DV\nTV9OywLETbXhRqvKYrje0wVNdPMCk2QztFSX6lSzzEw=\n-----END EC PRIVATE KEY-----";

fn key(pem: &str) -> SigningKey {
    SigningKey::from_pem(pem).unwrap()
}

fn all() -> [(SigningKey, &'static [Algorithm]); 5] {
    use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Rs256, Rs384, Rs512};
    [
        (key(keys::RSA), &[Rs256, Rs384, Rs512, Ps256]),
        (key(keys::P256), &[Es256]),
        (key(keys::P384), &[Es384]),
        (key(keys::ED25519), &[EdDsa]),
        (SigningKey::shared("a shared secret"), &[Hs256, Hs384, Hs512]),
    ]
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// What the standards print: RFC 7515 A.1 to A.3, RFC 8037 A.4.
#[test]
fn signatures_are_those_of_the_standards() {
    let joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let shared = SigningKey(Kind::Shared(Zeroizing::new(decoded(secret))));
    for (key, algorithm, text, expected) in [
        (
            shared,
            Algorithm::Hs256,
            format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{joe}"),
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            key(keys::RSA),
            Algorithm::Rs256,
            format!("eyJhbGciOiJSUzI1NiJ9.{joe}"),
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            key(keys::ED25519),
            Algorithm::EdDsa,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        assert_eq!(URL_SAFE_NO_PAD.encode(key.sign(algorithm, text.as_bytes()).unwrap()), expected, "{algorithm:?}");
    }
    // Signatures on curves are made with chance, so that the standard's is one of many that hold.
    let made = decoded("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
    assert!(key(keys::P256).verifies(Algorithm::Es256, format!("eyJhbGciOiJFUzI1NiJ9.{joe}").as_bytes(), &made));
}

/// Values of another library, for what the standards do not print.
#[test]
fn other_digests_are_what_they_are_called() {
    use sha2::{Digest as _, Sha256};
    let rsa = key(keys::RSA);
    let digest = |algorithm| hex::encode(Sha256::digest(rsa.sign(algorithm, b"text").unwrap()));
    assert_eq!(digest(Algorithm::Rs384), "ecc21c23d1aa796d68f19116c3a52324f66734d57d81f1dd43457b1a0c89761f");
    assert_eq!(digest(Algorithm::Rs512), "5a2d06b122b845bb2d3d6ace675e2c4af634b250c7de149d435aec80c12025b9");
    let pss = "SYxHH-KHCyr5REfoauLXndjb0RkRABVFoKtl-DCu0-IHJjW39bO3qjz-cIiPOUy6Eej5bBcWM2doubzNKq4tpgkc4VtMVkNPDosvCKjDo4MaQIZJGvQFmT2OJue68B7TSGP3g0vRJ96kD1QeJ1XC38cHZdbG0W5_27odAGq6PIRw3rxcN91wXzWe7XDH3Zjl-Obf77TufHMRsmjZbT39hyk7RmF1sTCat9z0_QBQvbXCMTkVsX4HHdlME2gghETIW3rr-1RS_GLHTEKCyuc8mILI567Z9dZnBj_RoUiMwEa9XuLdfFsSNDr3oAUOaxOgQB0kCsN-HYK_JJ3WxZbIOg";
    assert!(rsa.verifies(Algorithm::Ps256, b"text", &decoded(pss)));
    let shared = SigningKey::shared("a shared secret");
    let mac = |algorithm| URL_SAFE_NO_PAD.encode(shared.sign(algorithm, b"text").unwrap());
    assert_eq!(mac(Algorithm::Hs384), "oOX2bxUQVNP63s13jfc6mQS3PMaaOsSy2hd604qrqgM8YXiE17ak0isw7rqLb35u");
    assert_eq!(mac(Algorithm::Hs512), "y9ykTUcx3wjHplq4iIr3iRfi0_JR-8jUTbYDygnDKfJ_03cs9IEJfSTVanuEKRY83LEP1ubOcjffa2peX0rQhw");
}

#[test]
fn what_a_key_signs_its_public_half_takes_and_no_other() {
    for (nth, (key, algorithms)) in all().iter().enumerate() {
        assert_eq!(key.usual(), algorithms[0]);
        for algorithm in *algorithms {
            let token =
                sign(key, *algorithm, object(serde_json::json!({ "kid": "k" })), object(serde_json::json!({ "n": 1 }))).unwrap();
            let (header, claims) = opened(key, &token).unwrap();
            assert_eq!(Value::from(header), serde_json::json!({ "alg": algorithm.as_str(), "typ": "JWT", "kid": "k" }));
            assert_eq!(Value::from(claims), serde_json::json!({ "n": 1 }));
            let (text, made) = token.rsplit_once('.').unwrap();
            let forged =
                format!("{}.{made}", text.replace(&URL_SAFE_NO_PAD.encode("{\"n\":1}"), &URL_SAFE_NO_PAD.encode("{\"n\":2}")));
            assert!(forged != token && opened(key, &forged).is_none(), "{algorithm:?}");
            for (_, (other, _)) in all().iter().enumerate().filter(|(at, _)| *at != nth) {
                assert!(opened(other, &token).is_none(), "{algorithm:?}");
            }
        }
        for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| !algorithms.contains(algorithm)) {
            let error = sign(key, algorithm, Map::new(), Map::new()).unwrap_err();
            assert!(matches!(error, JwtError::Key(KeyError::WrongKind { .. })), "{algorithm:?}");
        }
    }
}

#[test]
fn a_key_is_read_in_each_form_it_comes_in() {
    let spelled = keys::P256.replace('\n', "\\n");
    let windows = keys::RSA.replace('\n', "\r\n");
    let bundle = format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{}", keys::ED25519);
    for (pem, algorithm) in [
        (RSA_PKCS1, Algorithm::Rs256),
        (P256_SEC1, Algorithm::Es256),
        (P384_SEC1, Algorithm::Es384),
        (&spelled, Algorithm::Es256),
        (&windows, Algorithm::Rs256),
        (&bundle, Algorithm::EdDsa),
    ] {
        assert_eq!(key(pem).usual(), algorithm);
    }
    let token = sign(&key(P384_SEC1), Algorithm::Es384, Map::new(), Map::new()).unwrap();
    assert!(opened(&key(keys::P384), &token).is_some());
}

#[test]
fn what_is_no_key_is_told_with_what_to_do() {
    let cut = &keys::RSA[..400];
    let holed = keys::P256.replace("MIGH", "MIGG");
    let long = format!("{}{}", keys::RSA, "\n".repeat(KEY_MAX));
    for (text, told, advice) in [
        ("", KeyError::NotPem, "-----BEGIN PRIVATE KEY-----"),
        ("secret", KeyError::NotPem, "send the whole file"),
        (cut, KeyError::Unreadable, "damaged"),
        (&holed, KeyError::Unreadable, "PKCS#8"),
        (K256, KeyError::Unreadable, "P-256"),
        (&long, KeyError::TooLong, "16384"),
        ("{\"type\":\"service_account\"}", KeyError::Json, "`private_key`"),
        (ENCRYPTED, KeyError::Encrypted, "openssl pkey"),
        (ENCRYPTED_OLD, KeyError::Encrypted, "openssl pkey"),
        (PUBLIC, KeyError::Public, "private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", KeyError::Certificate, "private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", KeyError::OpenSsh, "ssh-keygen"),
        (RSA_1024, KeyError::ShortRsa, "openssl genpkey"),
    ] {
        let error = SigningKey::from_pem(text).expect_err(text);
        assert_eq!(error, told, "{text}");
        assert!(error.to_string().contains(advice), "{error}");
    }
    let wrong = key(keys::P256).fits(Algorithm::Rs256).unwrap_err().to_string();
    assert!(wrong.starts_with("is a P-256 key, and RS256 signs with an RSA key"), "{wrong}");
}

#[test]
fn a_key_prints_its_kind_alone_and_a_jwt_has_a_size() {
    assert_eq!(format!("{:?}", key(keys::RSA)), "SigningKey(an RSA key)");
    assert_eq!(format!("{:?}", SigningKey::shared("topsecret")), "SigningKey(a shared secret)");
    let long = object(serde_json::json!({ "long": "x".repeat(JWT_MAX) }));
    assert_eq!(sign(&key(keys::ED25519), Algorithm::EdDsa, Map::new(), long), Err(JwtError::TooLong));
}
