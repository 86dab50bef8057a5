//! The use cases that these tests do not use, since a server has all of them: no provider, and no way
//! out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use claviger::adapters::journal::{BYTES, BlockJournal};
use claviger::domain::call::{HttpAnswer, HttpCall};
use claviger::ports::node_memory::Forgetful;
use claviger::ports::outbound::{CallError, Outbound};
use claviger::services::accounts::Accounts;
use claviger::services::api_keys::ApiKeys;
use claviger::services::cached::{Cached, Trust};
use claviger::services::catalogue::Catalogue;
use claviger::services::connect::{Connect, ConnectPolicy};
use claviger::services::connections::Connections;
use claviger::services::defined::{Defined, Definitions};
use claviger::services::integrations::{Integrations, RedirectStyle};
use claviger::services::nodes::{NodePolicy, Nodes};
use claviger::services::refresh::{Means, RefreshPolicy, Refresher};
use claviger::services::sweep::{self, SweepPolicy, Sweeper};
use claviger::services::vault::Vault;
use claviger::services::{Core, Services};
use tokio::runtime::Handle;

struct NoWayOut;

#[async_trait]
impl Outbound for NoWayOut {
    async fn call(&self, _: HttpCall, _: Duration) -> Result<HttpAnswer, CallError> {
        Err(CallError::NotSent("these tests call nobody".to_owned()))
    }
}

pub async fn services(core: &Core, accounts: Accounts, api_keys: ApiKeys) -> Services {
    let trust = Trust { trust: Duration::from_secs(1), cut_off: Duration::from_secs(30), entries: 100 };
    let (outbound, runtime, node) = (Arc::new(NoWayOut), Handle::current(), "test".to_owned());
    let (redirect, refresh) = (RedirectStyle::PerIntegration, RefreshPolicy::default());
    let catalogue = Arc::new(Catalogue::load(None, &BTreeMap::new()).unwrap());
    let limits = (Definitions::Refused, Duration::from_secs(10));
    let defined = Arc::new(Defined::new(core.clone(), catalogue.clone(), outbound.clone(), limits, trust));
    let integrations = Arc::new(Integrations::new(core.clone(), catalogue.clone(), defined.clone(), redirect, trust));
    let known = Arc::new(Cached::new(core.clone(), trust));
    let connections =
        Connections::new(core.clone(), integrations.clone(), known.clone(), outbound.clone(), runtime.clone(), node.clone());
    let policy = ConnectPolicy {
        link_ttl: Duration::from_secs(600),
        state_ttl: Duration::from_secs(600),
        redirect,
        call_deadline: Duration::from_secs(10),
        keep_trying: Duration::from_secs(60),
        node: node.clone(),
    };
    let aside = (policy, runtime.clone());
    let connect = Connect::new(core.clone(), integrations.clone(), connections.clone(), outbound.clone(), aside);
    let beat = NodePolicy { beat: Duration::from_secs(5), tolerance: 0 };
    let nodes = Arc::new(Nodes::new(core.clone(), Arc::new(Forgetful), beat, node).unwrap());
    let journal = Arc::new(BlockJournal::in_memory(*BYTES.start()).unwrap());
    let journal = Arc::new(core.store.journal(journal).await.unwrap());
    let means = Means {
        core: core.clone(),
        connections: known.clone(),
        integrations: integrations.clone(),
        journal: journal.clone(),
        outbound,
        nodes: nodes.clone(),
        runtime: runtime.clone(),
    };
    let refresher = Arc::new(Refresher::new(means, refresh));
    let swept = sweep::Means {
        core: core.clone(),
        connections: known.clone(),
        integrations: integrations.clone(),
        refresher: refresher.clone(),
        nodes: nodes.clone(),
    };
    let sweeper = Sweeper::new(swept, SweepPolicy { proactive: false, recently: Duration::ZERO });
    let vault = Vault::new(core.clone(), integrations.clone(), known, refresher.clone(), connect.clone());
    let stopping = std::sync::atomic::AtomicBool::new(false);
    Services {
        stopping,
        core: core.clone(),
        catalogue,
        defined,
        accounts,
        api_keys,
        integrations,
        connect,
        vault,
        connections,
        refresher,
        sweeper,
        nodes,
        journal,
    }
}
