//! A look over all tenants' connections, for the operator: which providers there are, and a few connections
//! of each. It jumps from index entry to index entry, so that it costs what it returns.

use crate::domain::ids::{ConnectionId, ProviderId, TenantId};

use super::entities::keys;
use super::{Store, StoreError};

/// Some connections of one tenant with one provider.
#[derive(Debug)]
pub struct Sample {
    pub tenant: TenantId,
    pub provider: ProviderId,
    pub connections: Vec<ConnectionId>,
}

impl Store {
    /// Up to `each` connections in this partition of every tenant and provider that has any there.
    pub async fn sample(&self, partition: u8, each: usize) -> Result<Vec<Sample>, StoreError> {
        let home = keys::connection_partition(partition);
        let (mut samples, mut after) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let page = self.kv.list(&home, b"i/", after.as_deref(), 1).await?;
            let Some(entry) = page.entries.first() else { return Ok(samples) };
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            let (begins, sample) = self.at(partition, &name, each).await?;
            samples.extend(sample);
            // Past everything that begins so: names are text, which has no such byte.
            after = Some([begins.as_bytes(), &[0xff]].concat());
        }
    }

    /// What this index entry is one of, and how all of those begin.
    async fn at(&self, partition: u8, name: &str, each: usize) -> Result<(String, Option<Sample>), StoreError> {
        let mut parts = name.split('/').skip(1);
        let (tenant, kind, provider) = (parts.next().unwrap_or_default(), parts.next(), parts.next().unwrap_or_default());
        let whole_tenant = format!("i/{tenant}/");
        let (Some("p"), Ok(tenant), Ok(provider)) = (kind, TenantId::parse(tenant), ProviderId::parse(provider)) else {
            return Ok((whole_tenant, None));
        };
        let prefix = keys::provider_prefix(&tenant, &provider);
        let home = keys::connection_partition(partition);
        let page = self.kv.list(&home, prefix.as_bytes(), None, each).await?;
        let ids = page.entries.iter().filter_map(|entry| std::str::from_utf8(&entry.name).ok()?.strip_prefix(&prefix));
        let connections = ids.filter_map(|id| ConnectionId::parse(id).ok()).collect();
        Ok((prefix, Some(Sample { tenant, provider, connections })))
    }
}
