//! Three nodes over one store, and callers who ask all of them, all the time: for a token as it is, and
//! for a new one. What they are told is judged at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::ledger::{Class, Dice, Fault, GrantNo, Ledger, Presented};
use crate::node::Node;
use crate::size::Slice;
use crate::world::{Connection, Ends, HANG, Said, Tenant, World, eventually};

/// Of each class.
const CONNECTIONS: usize = 3;
/// Short enough that tokens also end by themselves.
const LIFE: Duration = Duration::from_secs(30);
/// A token that has so long to live yet is to be served, whatever happens; below it a node may be about
/// to refresh.
const MARGIN: Duration = Duration::from_secs(4);
/// For so long a node answers from what it knows, while the store is away (`cache.cut_off`).
const CUT_OFF: Duration = Duration::from_secs(30);
/// How long one caller rests between two questions.
const REST: Duration = Duration::from_millis(40);

pub struct Three {
    pub world: World,
    pub nodes: Vec<Node>,
    tenants: Vec<Tenant>,
    connections: Vec<Connection>,
    pub told: Arc<Told>,
    ends: Arc<AtomicBool>,
    callers: Vec<JoinHandle<()>>,
}

/// What callers were told.
#[derive(Default)]
pub struct Told {
    /// By node and grant.
    last: Mutex<BTreeMap<(usize, GrantNo), Last>>,
    /// When each node last gave a new token to somebody who had asked for it then or later.
    fresh: Mutex<BTreeMap<usize, Duration>>,
    answers: AtomicU64,
    refused: AtomicU64,
    slowest: AtomicU64,
    /// Answers that were older than one before, of the same node.
    backward: AtomicU64,
    /// Where a store goes and another comes: a node may read what was not yet acknowledged to anybody, or
    /// what a replica did not have yet, until it is there again.
    pub may_go_back: AtomicBool,
    wrongs: Mutex<Vec<String>>,
    events: Mutex<Vec<String>>,
}

#[derive(Clone, Copy)]
struct Last {
    generation: u64,
    ends: Duration,
    told: Duration,
}

impl Three {
    /// `nodes` are not started yet, so that each can have settings of its own.
    pub async fn start(mut world: World, mut nodes: Vec<Node>) -> Self {
        world.ledger.set_life(LIFE);
        let mut dice = Dice(7);
        world.ledger.always(move |_| {
            let (before, after) = (dice.below(15), dice.below(15));
            Fault::default().before(Duration::from_millis(before)).after(Duration::from_millis(after))
        });
        nodes.iter_mut().for_each(Node::start);
        let tenant = world.tenant(&nodes[0]).await;
        let tenants = nodes.iter().map(|node| tenant.at(node)).collect();
        let connections = world.connections(&tenant, &Class::ALL, CONNECTIONS * Class::ALL.len(), Ends::Truly).await;
        let (told, ends) = (Arc::default(), Arc::default());
        let mut three = Self { world, nodes, tenants, connections, told, ends, callers: Vec::new() };
        for at in 0..three.connections.len() {
            three.callers.push(tokio::spawn(three.caller(at, true)));
            three.callers.push(tokio::spawn(three.caller(at, false)));
        }
        three
    }

    /// Asks for one connection's token, now here, now there, until the end.
    fn caller(&self, at: usize, force: bool) -> impl Future<Output = ()> + use<> {
        let (tenants, connection) = (self.tenants.clone(), self.connections[at].clone());
        let (told, ends, ledger) = (self.told.clone(), self.ends.clone(), self.world.ledger.clone());
        let mut dice = Dice(0xca11 + 2 * at as u64 + u64::from(force));
        async move {
            while !ends.load(Ordering::Relaxed) {
                let node = usize::try_from(dice.below(tenants.len() as u64)).unwrap();
                let asked = ledger.now();
                let mut said = tenants[node].token(&connection, force).await;
                if [0, 408].contains(&said.status) {
                    // A node that was stopped closes the connections that were idle for too long, and gives up what
                    // it had half read for too long; a client asks again.
                    said = tenants[node].token(&connection, force).await;
                }
                told.judge(&ledger, &Question { node, connection: &connection, force, asked }, &said);
                tokio::time::sleep(REST).await;
            }
        }
    }

    pub fn now(&self) -> Duration {
        self.world.ledger.now()
    }

    /// Returns when every node has given a new token to somebody who asked after this moment; with the
    /// time that took.
    pub async fn recovered(&self, since: Duration) -> Duration {
        let names: Vec<_> = (0..self.nodes.len()).collect();
        eventually(|| async {
            let fresh = lock(&self.told.fresh).clone();
            let late: Vec<_> = names.iter().filter(|node| fresh.get(node).is_none_or(|asked| *asked <= since)).collect();
            if late.is_empty() { Ok(()) } else { Err(format!("nodes {late:?} give no new tokens")) }
        })
        .await;
        self.now() - since
    }

    /// Ends the load. Each grant can be refreshed, by any node; nobody was sent twice at once, and no
    /// family ended.
    pub async fn end(mut self, slice: &mut Slice) {
        self.ends.store(true, Ordering::Relaxed);
        for caller in self.callers.drain(..) {
            caller.await.unwrap();
        }
        let mut unheard = Vec::new();
        for connection in &self.connections {
            if self.is_up_to_date(connection).await && self.can_be_refreshed(connection).await {
                continue;
            }
            let story = self.tenants[0].story(connection).await;
            if story.last("connection.in_doubt").is_some() && self.was_unheard(connection.grant) {
                unheard.push(connection.grant);
                continue;
            }
            let presented = self.world.ledger.presented();
            let last = presented.iter().rev().filter(|one| one.grant == Some(connection.grant)).take(3);
            self.told.wrong(format!("lost: {connection:?}, {story:?}, last shown {:#?}", last.collect::<Vec<_>>()));
        }
        let crimes = self.world.ledger.crimes();
        let revoked: Vec<_> = crimes.revoked.iter().filter(|grant| !unheard.contains(grant)).collect();
        if !revoked.is_empty() {
            self.told.wrong(format!("families revoked: {revoked:?}"));
        }
        if !crimes.crossed.is_empty() {
            self.told.wrong(format!("sent while under way: {:?}", crimes.crossed));
        }
        slice.add("answers_never_heard", unheard.len() as u64);
        slice.add("answers", self.told.answers.load(Ordering::Relaxed));
        slice.add("refused", self.told.refused.load(Ordering::Relaxed));
        slice.add("refreshes", self.world.ledger.count() as u64);
        slice.add("older_answers", self.told.backward.load(Ordering::Relaxed));
        slice.add("tokens_sent_again", crimes.repeated.len() as u64);
        slice.most("slowest_valid_token_ms", self.told.slowest.load(Ordering::Relaxed));
        slice.tell();
        let wrongs = lock(&self.told.wrongs);
        let events = lock(&self.told.events).join("\n");
        assert!(wrongs.is_empty(), "{} wrongs\n{}\n-- in the course of\n{events}", wrongs.len(), wrongs.join("\n"));
    }
}

impl Three {
    /// Nothing that anybody was told is gone: all nodes come to have it. False where a node wants a new
    /// consent.
    async fn is_up_to_date(&self, connection: &Connection) -> bool {
        let newest = self.told.newest(connection.grant);
        for tenant in &self.tenants {
            let said = eventually(|| async {
                let said = tenant.token(connection, false).await;
                let settled = said.generation >= newest || said.is_over();
                if settled { Ok(said) } else { Err(format!("{newest} was told, and {connection:?} is {said:?}")) }
            });
            if said.await.is_over() {
                return false;
            }
        }
        true
    }

    async fn can_be_refreshed(&self, connection: &Connection) -> bool {
        let tenant = &self.tenants[connection.grant % self.tenants.len()];
        let said = eventually(|| async {
            let said = tenant.token(connection, true).await;
            if said.is_good() || said.is_over() { Ok(said) } else { Err(format!("{connection:?}: {said:?}")) }
        });
        said.await.is_good()
    }

    /// Whether the provider's last word to this grant came too late for the node, on a machine with much else
    /// to do: it took a second to say it, or nobody listened any more. At a provider without a grace window
    /// that costs the grant, and no client can help it.
    fn was_unheard(&self, grant: GrantNo) -> bool {
        let slow = |last: &Presented| !last.whole || last.finished.is_none_or(|end| end - last.arrived > Duration::from_secs(1));
        !self.world.ledger.class(grant).forgives() && self.world.ledger.last_rotation(grant).is_some_and(|last| slow(&last))
    }

    /// For whoever reads of a failure.
    pub fn did(&self, what: impl std::fmt::Display) {
        lock(&self.told.events).push(format!("{} {:?} {what}", jiff::Timestamp::now(), self.now()));
    }
}

struct Question<'a> {
    node: usize,
    connection: &'a Connection,
    force: bool,
    asked: Duration,
}

impl Told {
    fn judge(&self, ledger: &Ledger, question: &Question<'_>, said: &Said) {
        let Question { node, connection, force, asked } = *question;
        let now = ledger.now();
        let key = (node, connection.grant);
        let known = lock(&self.last).get(&key).copied();
        self.answers.fetch_add(1, Ordering::Relaxed);
        if now - asked >= HANG {
            self.wrong(format!("node {node} was silent for {:?}", now - asked));
        }
        // What this node has told before and could tell again, all the time from the question to the answer.
        let valid = known.is_some_and(|last| now + MARGIN < last.ends && asked < last.told + CUT_OFF - MARGIN);
        if said.status != 200 {
            self.refused.fetch_add(1, Ordering::Relaxed);
            if valid && !force {
                self.wrong(format!("node {node} had a valid token of {connection:?} and said {said:?}"));
            }
            return;
        }
        let Some(access) = ledger.access(&said.access).filter(|access| access.grant == connection.grant) else {
            return self.wrong(format!("node {node} gave to {connection:?} what is not its token: {said:?}"));
        };
        if access.ends < asked {
            self.wrong(format!("node {node} gave a token of {connection:?} that was over: {said:?}"));
        }
        if valid && !force {
            self.slowest.fetch_max(u64::try_from((now - asked).as_millis()).unwrap(), Ordering::Relaxed);
        }
        self.learn(key, question, &known, &Last { generation: said.generation, ends: access.ends, told: now }, said);
    }

    fn learn(&self, key: (usize, GrantNo), question: &Question<'_>, known: &Option<Last>, new: &Last, said: &Said) {
        let mut all = lock(&self.last);
        let last = all.entry(key).or_insert(*new);
        // Judged by what was known before the question: other answers may have come meanwhile.
        let back = known.is_some_and(|known| known.told < question.asked && new.generation < known.generation);
        if back {
            self.backward.fetch_add(1, Ordering::Relaxed);
            if !self.may_go_back.load(Ordering::Relaxed) {
                self.wrong(format!("node {} went back from {:?}: {said:?}", key.0, known.map(|known| known.generation)));
            }
        }
        if new.generation >= last.generation {
            *last = *new;
        }
        drop(all);
        if question.force && said.is_good() && known.is_some_and(|known| new.generation > known.generation) {
            let mut fresh = lock(&self.fresh);
            let newest = fresh.entry(key.0).or_default();
            *newest = question.asked.max(*newest);
        }
    }

    /// What anybody was told of this grant.
    fn newest(&self, grant: GrantNo) -> u64 {
        lock(&self.last).iter().filter(|((_, of), _)| *of == grant).map(|(_, last)| last.generation).max().unwrap_or_default()
    }

    pub fn wrong(&self, what: String) {
        lock(&self.wrongs).push(what);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
