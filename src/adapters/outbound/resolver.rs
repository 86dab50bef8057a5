//! Name lookup with the guard in it: the client can only connect to addresses the policy has vetted,
//! in the same lookup whose answer it uses, so that an answer that changes later changes nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::egress::{Destination, EgressPolicy};

/// Who knows the addresses of a name.
#[async_trait]
pub trait Names: Send + Sync + 'static {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver.
pub struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect())
    }
}

/// The resolver of one call.
#[derive(Clone)]
pub struct Guard {
    pub names: Arc<dyn Names>,
    pub policy: Arc<EgressPolicy>,
    pub to: Destination,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.names.lookup(name.as_str()).await?;
            let vetted = guard.policy.vetted(&guard.to, found)?;
            // Port 0 stands for the port of the URL.
            Ok(Box::new(vetted.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
