//! Where each call goes: to the server that owns the partition, as it was found last; found again when a
//! server is away or says that it is not the one.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::join_all;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};
use tokio::runtime::Handle;

use super::address::Address;
use super::find::{Finder, Shard};
use super::link::Fault;
use super::place::{Place, Written};
use super::script::Lua;
use super::server::{Server, Watch};
use super::slots::{self, Ranges};
use crate::ports::kv::Partition;

pub struct Routes {
    finder: Finder,
    watch: Arc<Watch>,
    /// Where connections live and servers are looked for.
    runtime: Handle,
    min_replicas: u32,
    map: RwLock<Map>,
    /// Counts how often the servers were looked for.
    finds: AtomicU64,
    /// Held by the task that looks.
    finding: tokio::sync::Mutex<()>,
}

type Map = Arc<Vec<(Ranges, Arc<Place>)>>;

impl Routes {
    /// Finds the servers and reaches each, so that from now on another one is known to be another. Connections live
    /// on the runtime of whoever opens the store, not on that of a caller.
    pub async fn open(address: Address, min_replicas: u32) -> Result<Arc<Self>, Fault> {
        let watch = Arc::new(Watch::default());
        let (finds, finding, runtime) = (AtomicU64::new(0), tokio::sync::Mutex::default(), Handle::current());
        let routes = Self { finder: Finder::new(address), watch, runtime, min_replicas, map: RwLock::default(), finds, finding };
        let routes = Arc::new(routes);
        routes.find(0).await.map_err(Fault::NotSent)?;
        for place in routes.places() {
            place.reach().await?;
        }
        routes.watch.begin();
        Ok(routes)
    }

    pub fn epoch(&self) -> u64 {
        self.watch.epoch()
    }

    /// Asks something that changes nothing; once more on a new connection if the answer is lost.
    pub async fn read(self: &Arc<Self>, partition: &Partition, command: &Cmd) -> Result<Value, Fault> {
        match self.run(partition, |place| async move { place.read(command).await }).await {
            Err(Fault::Lost(_)) => self.run(partition, |place| async move { place.read(command).await }).await,
            other => other,
        }
    }

    /// Runs a script that writes.
    pub async fn write(
        self: &Arc<Self>,
        partition: &Partition,
        script: &Lua,
        keys: &[Vec<u8>],
        arguments: &[Vec<u8>],
    ) -> Result<Written, Fault> {
        let (by_hash, by_text) = (script.by_hash(keys, arguments), || script.by_text(keys, arguments));
        match self.write_command(partition, &by_hash).await {
            Err(Fault::Refused(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.write_command(partition, &by_text()).await
            }
            other => other,
        }
    }

    async fn write_command(self: &Arc<Self>, partition: &Partition, command: &Cmd) -> Result<Written, Fault> {
        self.run(partition, |place| async move { place.write(command).await }).await
    }

    /// Looks for the servers, and at each.
    pub async fn look(self: &Arc<Self>) -> Result<(), Fault> {
        let found = self.find(self.finds.load(Ordering::Acquire)).await;
        let looks = join_all(self.places().iter().map(|place| place.mark())).await;
        looks.into_iter().collect::<Result<(), Fault>>()?;
        found.map_err(Fault::NotSent)
    }

    /// Makes a call; once more if the server is not the one to ask, which it says before it does anything.
    async fn run<T, F: Future<Output = Result<T, Fault>>>(
        self: &Arc<Self>,
        partition: &Partition,
        call: impl Fn(Arc<Place>) -> F,
    ) -> Result<T, Fault> {
        let slot = slots::slot_of(partition.as_str());
        let finds = self.finds.load(Ordering::Acquire);
        let place = self.place(slot)?;
        let fault = match call(Arc::clone(&place)).await {
            Err(fault) if fault.is_elsewhere() => fault,
            other => return other,
        };
        self.find(finds).await.map_err(Fault::NotSent)?;
        let next = self.place(slot)?;
        // Whom nobody reaches is not tried again at once.
        if Arc::ptr_eq(&next, &place) && matches!(fault, Fault::NotSent(_)) { Err(fault) } else { call(next).await }
    }

    pub fn places(&self) -> Vec<Arc<Place>> {
        self.map().iter().map(|(_, place)| Arc::clone(place)).collect()
    }

    fn place(&self, slot: u16) -> Result<Arc<Place>, Fault> {
        let map = self.map();
        let owner = map.iter().find(|(ranges, _)| ranges.iter().any(|range| range.contains(&slot)));
        owner
            .map(|(_, place)| Arc::clone(place))
            .ok_or_else(|| Fault::NotSent("no server of the cluster has this partition".into()))
    }

    fn map(&self) -> Map {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks where the servers are, unless somebody has done so since `finds` was counted. A server that
    /// is still there keeps its connections; one that was away meanwhile counts as another. In a task of its own, as
    /// a link connects: a caller that is not polled holds nobody up.
    async fn find(self: &Arc<Self>, finds: u64) -> Result<(), String> {
        let routes = Arc::clone(self);
        let found = self.runtime.spawn(async move { routes.find_in_turn(finds).await }).await;
        found.unwrap_or_else(|ended| Err(ended.to_string()))
    }

    async fn find_in_turn(&self, finds: u64) -> Result<(), String> {
        let _turn = self.finding.lock().await;
        if self.finds.load(Ordering::Acquire) != finds || (self.finder.is_fixed() && finds > 0) {
            return Ok(());
        }
        let known = self.map();
        let found = self.finder.find().await.and_then(|shards| {
            let places = shards.into_iter().map(|shard| self.settle(shard, &known));
            places.collect::<Result<Vec<_>, _>>()
        });
        if let Ok(map) = &found {
            *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map.clone());
        }
        self.finds.fetch_add(1, Ordering::Release);
        found.map(drop)
    }

    fn settle(&self, shard: Shard, known: &Map) -> Result<(Ranges, Arc<Place>), String> {
        let name = shard.server.addr().to_string();
        if let Some((_, place)) = known.iter().find(|(_, place)| place.server.name == name) {
            return Ok((shard.slots, Arc::clone(place)));
        }
        let server = Server::new(shard.server, &shard.slots, Arc::clone(&self.watch)).map_err(|error| error.to_string())?;
        Ok((shard.slots, Arc::new(Place::new(server, self.min_replicas, &self.runtime))))
    }
}
