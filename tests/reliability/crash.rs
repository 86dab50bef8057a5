//! kill -9, over and over, on SQLite, under load with every class of provider. No grant whose answer
//! could still be had is lost, no generation that a caller saw goes back. At a provider without a grace
//! window a crash between its rotation and the fsync of the answer costs the grant: each such loss must
//! lie in that window by the ledger, and must have been told as `in_doubt`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::ledger::{Class, Dice, Fault, GrantNo, Ledger};
use crate::node::Node;
use crate::size::{Slice, size};
use crate::world::{Connection, Ends, Said, Story, Tenant, World, crowd, eventually};

/// Of each class.
const CONNECTIONS: usize = 6;
/// Short, so that what is in doubt is settled within a cycle or two.
const LIFE: Duration = Duration::from_secs(12);
const GRACE: Duration = Duration::from_secs(30);
/// A node resolves what it finds one call deadline (1 s) after its start.
const LONG_LIFE: Duration = Duration::from_secs(3);
const LONG_LIFE_EVERY: usize = 3;
/// Between two questions of one caller; the machine is to be busy, not late.
const REST: Duration = Duration::from_millis(20);
/// How long after the provider's last byte a kill may still cost the answer, on a machine that keeps up;
/// one that does not is given ten times what a timer of this test was late in that cycle. The figures say
/// how long it was; this only tells a window from a hole.
const WINDOW_MAX: Duration = Duration::from_millis(500);
const LATENESS: u32 = 10;

/// What callers were told, over all kills.
#[derive(Default)]
struct Told {
    /// The newest generation of each grant that somebody was answered with.
    generations: Mutex<BTreeMap<GrantNo, u64>>,
    answers: AtomicU64,
    /// What must not be, in words.
    wrongs: Mutex<Vec<String>>,
}

impl Told {
    fn judge(&self, connection: &Connection, said: &Said, asked_at: u64, ledger: &Ledger) {
        if said.status != 200 {
            return;
        }
        self.answers.fetch_add(1, Ordering::Relaxed);
        if said.generation < asked_at {
            self.wrong(format!("{connection:?} was at {asked_at} and is at {}", said.generation));
        }
        match ledger.access(&said.access) {
            Some(access) if access.grant == connection.grant => {}
            other => self.wrong(format!("{connection:?} was answered with {said:?}, which is of {other:?}")),
        }
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = generations.entry(connection.grant).or_default();
        *newest = said.generation.max(*newest);
    }

    fn wrong(&self, what: String) {
        self.wrongs.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn newest(&self, grant: GrantNo) -> u64 {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).get(&grant).copied().unwrap_or_default()
    }
}

/// One kill, by the ledger's time: the signal, when the next node served, and how late timers were in that cycle.
struct Kill {
    began: Duration,
    next: Duration,
    late: Duration,
}

/// How long after the provider's last byte a kill came.
struct Window {
    began: Duration,
    span: Duration,
    late: Duration,
}

/// The scene of one run.
struct Scene {
    world: World,
    tenant: Tenant,
    told: Arc<Told>,
    /// By place: who is connected there now.
    places: Arc<Vec<Mutex<Connection>>>,
    kills: Vec<Kill>,
    /// From when to when a node was up, but for the one that is.
    up: Vec<(Duration, Duration)>,
    up_since: Duration,
    lost: BTreeSet<GrantNo>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_no_grant_but_in_the_window() {
    let mut slice = Slice::resume("kill9");
    let cycles = size("CYCLES", 60, 2_000);
    let (mut scene, mut node) = Scene::set().await;
    let mut dice = Dice(0x5eed + slice.sum("cycles"));
    while slice.sum("cycles") < cycles && !slice.is_over() {
        scene.cycle(&mut node, &mut dice).await;
        slice.add("cycles", 1);
        scene.settle(&mut slice).await;
    }
    scene.end(&mut slice).await;
    slice.keep();
}

impl Scene {
    async fn set() -> (Self, Node) {
        let mut world = World::on_sqlite();
        world.set("refresh.call_deadline", "1s");
        world.ledger.set_life(LIFE);
        // As long as the windows of those who have one; a node that is killed every few seconds needs more than one.
        world.ledger.set_window(GRACE);
        let mut dice = Dice(7);
        // A provider takes its time before and after it writes its books; so kills meet every stage.
        world.ledger.always(move |_| {
            let (before, after) = (dice.below(15), dice.below(15));
            Fault::default().before(Duration::from_millis(before)).after(Duration::from_millis(after))
        });
        let mut node = world.node("a");
        node.start();
        let tenant = world.tenant(&node).await;
        let connections = world.connections(&tenant, &Class::ALL, CONNECTIONS * Class::ALL.len(), Ends::Truly).await;
        let places = Arc::new(connections.into_iter().map(Mutex::new).collect::<Vec<_>>());
        let (told, up_since) = (Arc::new(Told::default()), world.ledger.now());
        let (kills, up, lost) = (Vec::new(), Vec::new(), BTreeSet::new());
        (Self { world, tenant, told, places, kills, up, up_since, lost }, node)
    }

    /// Load, a kill in the midst of it, a start.
    async fn cycle(&mut self, node: &mut Node, dice: &mut Dice) {
        let ends = Arc::new(AtomicBool::new(false));
        let load: Vec<_> = (0..self.places.len()).map(|place| tokio::spawn(self.caller(place, ends.clone()))).collect();
        // What is killed while it finds out what the last one left leaves it again, and in greater doubt. Now and then one
        // lives long enough: that is what the promise needs within a provider's window.
        let long = if self.kills.len().is_multiple_of(LONG_LIFE_EVERY) { LONG_LIFE } else { Duration::ZERO };
        let late = lateness(long + Duration::from_millis(200 + dice.below(1600))).await;
        let began = self.world.ledger.now();
        node.kill();
        self.up.push((self.up_since, began));
        ends.store(true, Ordering::Relaxed);
        for caller in load {
            caller.await.unwrap();
        }
        node.start();
        self.up_since = self.world.ledger.now();
        self.kills.push(Kill { began, next: self.up_since, late });
    }

    /// Asks for a new token again and again.
    fn caller(&self, place: usize, ends: Arc<AtomicBool>) -> impl Future<Output = ()> + use<> {
        let (tenant, told, places, ledger) =
            (self.tenant.clone(), self.told.clone(), self.places.clone(), self.world.ledger.clone());
        async move {
            while !ends.load(Ordering::Relaxed) {
                let connection = current(&places[place]);
                let before = told.newest(connection.grant);
                let said = tenant.token(&connection, true).await;
                told.judge(&connection, &said, before, &ledger);
                tokio::time::sleep(REST).await;
            }
        }
    }

    /// Whoever needs to consent again does so; each such grant is judged.
    async fn settle(&mut self, slice: &mut Slice) {
        let connections: Vec<_> = self.places.iter().map(current).collect();
        let tenant = self.tenant.clone();
        let ask = move |connection: Connection| {
            let tenant = tenant.clone();
            async move { tenant.token(&connection, false).await }
        };
        let said = crowd(connections.clone(), 16, ask).await;
        for (place, (connection, said)) in connections.iter().zip(said).enumerate() {
            if said.is_over() {
                self.mourn(place, connection, slice).await;
            }
        }
    }

    /// A grant that is reported as over: was it in the window, and was it told?
    async fn mourn(&mut self, place: usize, connection: &Connection, slice: &mut Slice) {
        let story = self.tenant.story(connection).await;
        let what = || format!("{connection:?}: {story:?}, last {:?}", self.world.ledger.last_rotation(connection.grant));
        if connection.class.forgives() {
            self.told.wrong(format!("it could have been saved: {} up {:?}", what(), self.up_after(connection.grant)));
        }
        let (doubt, over) = (story.last("connection.in_doubt"), story.last("connection.needs_reauth"));
        if doubt.is_none_or(|doubt| over.is_none_or(|over| over < doubt)) {
            self.told.wrong(format!("never said to be in doubt: {}", what()));
        }
        match self.window(connection.grant) {
            Some(kill) if self.gave_up(connection.grant, &story).is_some_and(|at| at < kill.began) => {
                slice.add("answers_never_heard", 1)
            }
            Some(kill) if kill.span <= WINDOW_MAX + kill.late * LATENESS => slice.note("window_ms", kill.span),
            Some(Window { span, late, .. }) => {
                self.told.wrong(format!("killed {span:?} after the last byte, with timers {late:?} late: {}", what()));
            }
            None => self.told.wrong(format!("no kill explains it: {}", what())),
        }
        slice.add(&format!("lost_{}", connection.class.name()), 1);
        self.lost.insert(connection.grant);
        let anew = connection.anew(&self.world.ledger);
        self.tenant.import(&anew, &self.world.ledger, Ends::Truly).await;
        *self.places[place].lock().unwrap_or_else(PoisonError::into_inner) = anew;
    }

    /// How long nodes were up, each, while the provider would have forgiven.
    fn up_after(&self, grant: GrantNo) -> Vec<Duration> {
        let Some(last) = self.world.ledger.last_rotation(grant) else { return Vec::new() };
        let (from, to) = (last.arrived, last.arrived + GRACE);
        let now = self.world.ledger.now();
        let spans = self.up.iter().copied().chain([(self.up_since, now)]);
        spans.map(|(began, ended)| ended.min(to).saturating_sub(began.max(from))).filter(|span| !span.is_zero()).collect()
    }

    /// The kill that cost this grant: the one after its last rotation, unless a caller was answered with that.
    fn window(&self, grant: GrantNo) -> Option<Window> {
        let last = self.world.ledger.last_rotation(grant)?;
        let (_, access, _) = last.issued?;
        let number = self.world.ledger.access(&access)?.number;
        // The n-th token after the first is of generation n + 1.
        let acknowledged = self.told.newest(grant) > u64::try_from(number).ok()?;
        // On a busy disk a process takes its time to die, and what it sent may be read when it is dead. Before it
        // serves, the next one sends nothing.
        let Kill { began, late, .. } = *self.kills.iter().find(|kill| kill.next >= last.arrived).filter(|_| !acknowledged)?;
        Some(Window { began, span: began.saturating_sub(last.finished.unwrap_or(began)), late })
    }

    /// When the node itself said that the last answer to this grant did not come in time: on a machine with much else
    /// to do a call can take longer than its deadline. Nothing if that was of an answer before.
    fn gave_up(&self, grant: GrantNo, story: &Story) -> Option<Duration> {
        let ago = Timestamp::now().duration_since(story.last_at("connection.in_doubt")?);
        let at = self.world.ledger.now().saturating_sub(ago.unsigned_abs());
        self.world.ledger.last_rotation(grant).is_some_and(|last| last.arrived < at).then_some(at)
    }

    /// Every grant that is left can be refreshed, or was lost in the window.
    async fn end(mut self, slice: &mut Slice) {
        for place in 0..self.places.len() {
            let connection = current(&self.places[place]);
            let before = self.told.newest(connection.grant);
            let tenant = self.tenant.clone();
            let settled = eventually(|| async {
                let said = tenant.token(&connection, true).await;
                let settled = said.is_good() || said.is_over();
                if settled { Ok(said) } else { Err(format!("{connection:?}: {said:?}")) }
            });
            let said = settled.await;
            self.told.judge(&connection, &said, before, &self.world.ledger);
            if !said.is_good() {
                self.mourn(place, &connection, slice).await;
            }
        }
        let crimes = self.world.ledger.crimes();
        let innocent: Vec<_> = crimes.revoked.iter().filter(|grant| !self.lost.contains(grant)).collect();
        if !innocent.is_empty() {
            self.told.wrong(format!("families revoked though nothing was lost: {innocent:?}"));
        }
        if !crimes.crossed.is_empty() {
            self.told.wrong(format!("sent while under way: {:?}", crimes.crossed));
        }
        slice.add("answers", self.told.answers.load(Ordering::Relaxed));
        slice.add("refreshes", self.world.ledger.count() as u64);
        slice.add("sent_again_in_doubt", crimes.repeated.len() as u64);
        slice.most("times_one_token_was_sent", crimes.repeated.values().copied().max().unwrap_or(1) as u64);
        slice.tell();
        let wrongs = self.told.wrongs.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(wrongs.is_empty(), "{} wrongs\n{}", wrongs.len(), wrongs.join("\n"));
    }
}

/// Waits, and says how late the machine was with it at worst.
async fn lateness(span: Duration) -> Duration {
    const STEP: Duration = Duration::from_millis(10);
    let (began, mut worst) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < span {
        let before = Instant::now();
        tokio::time::sleep(STEP).await;
        worst = worst.max(before.elapsed().saturating_sub(STEP));
    }
    worst
}

fn current(place: &Mutex<Connection>) -> Connection {
    place.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
