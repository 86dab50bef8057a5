//! A certificate for 127.0.0.1 that vouches for itself, made anew for each ledger.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

pub struct Certificate {
    roots: PathBuf,
    acceptor: TlsAcceptor,
    _folder: TempDir,
}

impl Certificate {
    pub fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (roots, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]);
        openssl.args(["-subj", "/CN=ledger", "-addext", "subjectAltName=IP:127.0.0.1"]);
        // One that may sign others would not be taken as a server's own.
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&roots).stdout(Stdio::null());
        let made = openssl
            .output()
            .unwrap_or_else(|error| panic!("these tests need openssl (Debian and Ubuntu: apt-get install openssl): {error}"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let acceptor = acceptor(&roots, &key);
        Self { roots, acceptor, _folder: folder }
    }

    pub fn roots(&self) -> &Path {
        &self.roots
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}

fn acceptor(certificate: &Path, key: &Path) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).expect("they fit")))
}
