//! Connecting an end user: link, consent, callback, grant. Two ways: the
//! end user confirms on a page and its browser is bound by a cookie, or the tenant's backend confirms
//! with a ticket. It knows browsers only as strings: cookies and pages are the web layer's.

mod begin;
mod complete;
mod device;
mod exchange;
mod finish;
mod install;
mod introspect;
mod keep;
mod links;
mod mint;
mod one_time;
mod poll;
mod room;
mod temporary;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::error_code::ErrorCode;
use crate::domain::link::FlowSubject;
use crate::domain::provider::Provider;
use crate::domain::refusal::Refusal;
use crate::ports::outbound::Outbound;
use crate::store::keys;

use super::Core;
use super::connections::Connections;
use super::integrations::{Active, Integrations, RedirectStyle};

pub use begin::{Decided, Decision, Departure, FlowCookie, Invitation, Opened};
pub use complete::{Callback, Ended, Outcome, Place};
pub use device::{Shown, Watched};
pub use install::Arrived;
pub use links::{Asked, Begun, MadeLink};
use room::Room;

pub(super) use begin::merged;
pub(super) use exchange::not_buildable;

/// How long the one-time things of a flow live, and how its last step is made.
#[derive(Debug, Clone)]
pub struct ConnectPolicy {
    /// From making a link to pressing Connect.
    pub link_ttl: Duration,
    /// From there to the callback, and from the callback to the tenant's confirmation.
    pub state_ttl: Duration,
    pub redirect: RedirectStyle,
    /// For one call to a provider, everything included.
    pub call_deadline: Duration,
    /// For so long a grant that was obtained is offered to a store that does not answer.
    pub keep_trying: Duration,
    /// This node's name in receipts.
    pub node: String,
}

/// The use cases of connecting. Cheap to clone, so that a flow can go on without its request.
#[derive(Clone)]
pub struct Connect {
    core: Core,
    integrations: Arc<Integrations>,
    connections: Connections,
    outbound: Arc<dyn Outbound>,
    policy: Arc<ConnectPolicy>,
    runtime: Handle,
    tasks: TaskTracker,
    /// Those who wait for a code to be entered on another device.
    waiting: Arc<Room>,
    stopping: CancellationToken,
}

/// Names that a page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub tenant: String,
    pub provider: String,
}

impl Connect {
    /// `runtime`: where flows that were begun go on when their browser has left.
    pub fn new(
        core: Core,
        integrations: Arc<Integrations>,
        connections: Connections,
        outbound: Arc<dyn Outbound>,
        (policy, runtime): (ConnectPolicy, Handle),
    ) -> Self {
        let (policy, tasks, waiting, stopping) = (Arc::new(policy), TaskTracker::new(), Arc::default(), CancellationToken::new());
        Self { core, integrations, connections, outbound, policy, runtime, tasks, waiting, stopping }
    }

    pub fn policy(&self) -> &ConnectPolicy {
        &self.policy
    }

    /// Returns when every flow that was being completed has ended. One that waits for a device is left as it is: any
    /// node goes on with it when its browser comes again. New ones are still taken: whoever
    /// stops the server stops listening first.
    pub async fn drain(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs to its end even if the caller goes away: a code can be exchanged only once, and its
    /// answer is the only copy of a grant.
    async fn to_its_end<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Refusal> {
        let task = self.tasks.spawn_on(work, &self.runtime);
        task.await.map_err(|cause| {
            Refusal::new(ErrorCode::Internal, "Something went wrong on our side; please try again.").with_cause(cause)
        })
    }

    async fn active(&self, subject: &FlowSubject) -> Result<Active, Refusal> {
        let active = self.integrations.active(&subject.tenant, &subject.provider, &subject.integration).await?;
        if subject.place != active.integration.place {
            let detail = "The provider has been defined anew since this link was made; make another.";
            return Err(Refusal::new(ErrorCode::LinkExpired, detail));
        }
        Ok(active)
    }

    async fn names(&self, subject: &FlowSubject, provider: &Provider) -> Result<Names, Refusal> {
        let account = self.core.store.read(&keys::account(&subject.tenant)).await?;
        let tenant = account.map(|account| account.value.display_name).unwrap_or_default();
        Ok(Names { tenant, provider: provider.name().to_owned() })
    }

    /// The moment that is `span` from now.
    fn after(&self, span: Duration) -> Timestamp {
        let now = self.core.clock.now();
        SignedDuration::try_from(span).ok().and_then(|span| now.checked_add(span).ok()).unwrap_or(Timestamp::MAX)
    }

    fn is_over(&self, end: Timestamp) -> bool {
        end <= self.core.clock.now()
    }
}
