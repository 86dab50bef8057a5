//! Randomness from the operating system. If it fails, whatever needed it fails; there is no fallback.

#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct EntropyError(pub String);

pub trait Entropy: Send + Sync + 'static {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// `N` random bytes.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], EntropyError> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}
