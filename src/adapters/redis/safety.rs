//! Redis is refused at start when its settings could lose grants. What cannot be learnt counts as
//! unsafe.

use std::collections::{BTreeSet, HashMap};

use redis::FromRedisValue;

use super::identity::Info;
use super::link::Fault;
use super::place::Place;
use super::routes::Routes;

/// Scripts that set a moment of expiry need it.
const OLDEST: (u32, u32) = (6, 2);

/// The settings that decide, of one server; `None` where they could not be learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub version: Option<(u32, u32)>,
    pub eviction: Option<String>,
    pub append_only: Option<bool>,
    pub append_fsync: Option<String>,
    /// Points at which a snapshot is written; empty for none.
    pub snapshots: Option<String>,
    pub replicas: Option<u32>,
}

/// Which replicas a commit waits for.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    pub min_replicas: u32,
    /// Another server takes over by itself when the one that writes fails.
    pub failover: bool,
}

/// Of every server that writes.
pub async fn learn(routes: &Routes) -> Result<Vec<Settings>, Fault> {
    let mut learnt = Vec::new();
    for place in routes.places() {
        let info = match place.inquire(&redis::cmd("INFO")).await {
            // Not allowed to ask: a server of which nothing is known.
            Err(Fault::Refused(_)) => String::new(),
            answer => String::from_redis_value(answer?).unwrap_or_default(),
        };
        let append_fsync = config(&place, "appendfsync").await;
        let snapshots = config(&place, "save").await;
        learnt.push(Settings { append_fsync, snapshots, ..Settings::from_info(Info(&info)) });
    }
    Ok(learnt)
}

/// `None` where the command is not allowed.
async fn config(place: &Place, name: &str) -> Option<String> {
    let answer = place.inquire(redis::cmd("CONFIG").arg("GET").arg(name)).await.ok()?;
    HashMap::<String, String>::from_redis_value(answer).ok()?.remove(name)
}

/// What is wrong with any of them, each once.
pub fn dangers(settings: &[Settings], waiting: Waiting) -> Vec<String> {
    let dangers: BTreeSet<String> = settings.iter().flat_map(|settings| settings.dangers(waiting)).collect();
    dangers.into_iter().collect()
}

/// What the operator should know: the dangers that were accepted or came later, and what a server that
/// stands alone cannot give.
pub fn notes(settings: &[Settings], waiting: Waiting) -> Vec<String> {
    let mut notes: Vec<String> =
        dangers(settings, waiting).into_iter().map(|danger| format!("Redis could lose grants: {danger}.")).collect();
    let replicas = settings.iter().map(|settings| settings.replicas.unwrap_or(0)).min().unwrap_or(0);
    if waiting.min_replicas == 0 && !(replicas > 0 && waiting.failover) {
        notes.push(alone(replicas));
    }
    notes
}

fn alone(replicas: u32) -> String {
    match replicas {
        0 => {
            "Redis stands alone: if its disk or machine is lost, so is every grant since the last backup. Add a replica and name \
              the sentinels or the cluster in store.url (redis+sentinel://, redis+cluster://)."
                .to_owned()
        }
        _ => "Redis has a replica that no commit waits for: if it takes the primary's place, the newest grants are lost. Set \
              store.min_replicas = 1."
            .to_owned(),
    }
}

impl Settings {
    fn from_info(info: Info<'_>) -> Self {
        let field = |name| info.field(name).map(str::to_owned);
        let version = field("redis_version").and_then(|version| {
            let mut numbers = version.split('.').map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        Self {
            version,
            eviction: field("maxmemory_policy"),
            append_only: field("aof_enabled").map(|enabled| enabled == "1"),
            append_fsync: None,
            snapshots: None,
            replicas: info.field("connected_slaves").and_then(|count| count.parse().ok()),
        }
    }

    /// What is wrong, each with the setting's name and the remedy. A server that answers for its
    /// writes alone (no replica is waited for) must have them on the disk before it answers.
    fn dangers(&self, waiting: Waiting) -> Vec<String> {
        let alone = waiting.min_replicas == 0;
        let append_only = self.append_only == Some(true);
        let snapshots = self.snapshots.as_deref().is_some_and(|points| !points.is_empty());
        let mut dangers = Vec::new();
        match self.eviction.as_deref() {
            Some("noeviction") => {}
            Some(policy) => dangers.push(format!(
                "`maxmemory-policy` is {policy}, so Redis may throw grants away; set `maxmemory-policy noeviction`"
            )),
            None => dangers.push(unknown("maxmemory-policy", "INFO")),
        }
        match (append_only, alone) {
            (true, true) => dangers.extend(self.lone_fsync()),
            (false, true) if self.append_only.is_none() => dangers.push(unknown("appendonly", "INFO")),
            (false, true) => {
                dangers.push("`appendonly` is no, so a crash loses grants; set `appendonly yes` and `appendfsync always`".into());
            }
            (false, false) if self.snapshots.is_none() => dangers.push(unknown("save", "CONFIG GET")),
            (false, false) if !snapshots => {
                dangers.push("nothing is persisted: `appendonly` is no and `save` is empty; set `appendonly yes`".into());
            }
            _ => {}
        }
        if alone && waiting.failover && self.replicas != Some(0) {
            dangers.push(
                "`store.min_replicas` is 0, so a failover loses what was just acknowledged; set `store.min_replicas = 1`".into(),
            );
        }
        dangers
    }

    fn lone_fsync(&self) -> Option<String> {
        match self.append_fsync.as_deref() {
            Some("always") => None,
            Some(other) => Some(format!(
                "`appendfsync` is {other}, so a lone server that crashes loses what it has just acknowledged; set `appendfsync always`, \
                 or add a replica and set `store.min_replicas = 1`"
            )),
            None => Some(unknown("appendfsync", "CONFIG GET")),
        }
    }

    /// What makes the server unusable, whatever is allowed.
    pub fn unusable(&self) -> Option<String> {
        let (major, minor) = self.version.filter(|version| *version < OLDEST)?;
        Some(format!("it is version {major}.{minor}; Claviger needs {}.{} or newer", OLDEST.0, OLDEST.1))
    }
}

fn unknown(setting: &str, command: &str) -> String {
    format!("`{setting}` cannot be learnt, which counts as unsafe; let Claviger's Redis user run {command}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_lacks_what_the_scripts_need_is_refused() {
        let unusable = |version: &str| Settings::from_info(Info(&format!("redis_version:{version}\r\n"))).unusable();
        for old in ["6.0.20", "5.0", "2.8.19"] {
            assert!(unusable(old).is_some_and(|why| why.contains("6.2 or newer")), "{old}");
        }
        for new in ["6.2.0", "7.0.15", "8.2", "255.255.255"] {
            assert_eq!(unusable(new), None, "{new}");
        }
    }
}
