//! The connections to one server that writes: one for reads, a few for writes, since a write that waits
//! for its replicas holds up what comes behind it, and one to look after the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value};

use tokio::runtime::Handle;

use super::link::{Fault, Link, Wire};
use super::script;
use super::server::Server;

/// How long a write may wait for its replicas; well below the time to answer.
const REPLICAS: Duration = Duration::from_secs(2);
/// Connections for writes that wait.
const WAITING: usize = 8;

/// What a write answered, and whether as many replicas as asked for have it too.
pub struct Written {
    pub value: Value,
    pub replicated: bool,
}

pub struct Place {
    pub server: Arc<Server>,
    reads: Arc<Link>,
    writes: Vec<Arc<Link>>,
    looks: Arc<Link>,
    turn: AtomicUsize,
    min_replicas: u32,
}

impl Place {
    /// Its connections live on this runtime.
    pub fn new(server: Server, min_replicas: u32, runtime: &Handle) -> Self {
        let server = Arc::new(server);
        let links = if min_replicas == 0 { 1 } else { WAITING };
        let link = || Link::new(Arc::clone(&server), runtime.clone());
        let writes = (0..links).map(|_| link()).collect();
        Self { reads: link(), writes, looks: link(), turn: AtomicUsize::new(0), min_replicas, server }
    }

    /// Reaches the server, which looks at who it is.
    pub async fn reach(&self) -> Result<(), Fault> {
        self.reads.wire().await.map(drop)
    }

    pub async fn read(&self, command: &Cmd) -> Result<Value, Fault> {
        let mut wire = self.reads.wire().await?;
        self.server.check().map_err(Fault::NotSent)?;
        self.ask(&mut wire, command).await
    }

    /// Asks what has nothing to do with the data.
    pub async fn inquire(&self, command: &Cmd) -> Result<Value, Fault> {
        let mut wire = self.reads.wire().await?;
        self.ask(&mut wire, command).await
    }

    async fn ask(&self, wire: &mut Wire, command: &Cmd) -> Result<Value, Fault> {
        let answer: RedisResult<Value> = command.query_async(&mut wire.connection).await;
        answer.map_err(|error| {
            self.reads.heed(wire, &error);
            error.into()
        })
    }

    pub async fn write(&self, command: &Cmd) -> Result<Written, Fault> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.writes.len();
        let link = self.writes.get(turn).unwrap_or(&self.reads);
        let wire = link.wire().await?;
        self.server.check().map_err(Fault::NotSent)?;
        self.send(link, wire, command).await
    }

    /// Keeps the marker, and so shows that the server writes and has its replicas, and which it is.
    pub async fn mark(&self) -> Result<(), Fault> {
        let wire = self.looks.wire().await?;
        let marker = script::MARK.by_text(&[self.server.marker().to_vec()], &[self.server.question().marker]);
        let marked = self.send(&self.looks, wire, &marker).await?;
        self.server.check().map_err(Fault::NotSent)?;
        if marked.replicated {
            Ok(())
        } else {
            Err(Fault::Lost(format!("too few replicas of {} confirm writes", self.server.name)))
        }
    }

    /// A write, the WAIT that goes with it (it speaks of the writes of its own connection), and then what
    /// the server says of itself: a server that was exchanged under the connection before the write is
    /// known to be another before the write is answered.
    async fn send(&self, link: &Link, wire: Wire, command: &Cmd) -> Result<Written, Fault> {
        let question = self.server.question();
        let heed = |error: &RedisError| link.heed(&wire, error);
        let answers: RedisResult<Vec<RedisResult<Value>>> =
            self.pipeline(command).query_async(&mut wire.connection.clone()).await;
        let mut answers = answers.inspect_err(heed)?.into_iter();
        let value = answers.next();
        // A WAIT that ends in an error (the server was demoted meanwhile) says nothing of the write.
        let replicas = if self.min_replicas == 0 { 0 } else { answers.next().and_then(count).unwrap_or(0) };
        if !self.server.look_again(&question, &wire.identity, [answers.next(), answers.next()]) {
            link.drop_wire(&wire);
        }
        let value = value.unwrap_or(Ok(Value::Nil)).inspect_err(heed)?;
        Ok(Written { value, replicated: replicas >= self.min_replicas })
    }

    fn pipeline(&self, command: &Cmd) -> Pipeline {
        let mut pipeline = redis::pipe();
        pipeline.add_command(command.clone());
        if self.min_replicas > 0 {
            let wait = u64::try_from(REPLICAS.as_millis()).unwrap_or(u64::MAX);
            pipeline.cmd("WAIT").arg(self.min_replicas).arg(wait);
        }
        pipeline.cmd("INFO").arg("replication").cmd("GET").arg(self.server.marker()).ignore_errors();
        pipeline
    }
}

fn count(answer: RedisResult<Value>) -> Option<u32> {
    u32::from_redis_value(answer.ok()?).ok()
}
