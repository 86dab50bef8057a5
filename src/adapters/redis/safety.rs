//! Redis is refused at start when its settings could lose grants. What cannot be learnt counts as
//! unsafe.

use redis::{FromRedisValue, Value};

use super::connect::{Fault, Routes};

/// The settings that decide, of one server; `None` where they could not be learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub version: Option<(u32, u32)>,
    pub role: Option<String>,
    pub eviction: Option<String>,
    pub append_only: Option<bool>,
    pub append_fsync: Option<String>,
    /// Points at which a snapshot is written; empty for none.
    pub snapshots: Option<String>,
}

/// Of every server that writes.
pub async fn learn(routes: &Routes) -> Result<Vec<Settings>, Fault> {
    let infos = match routes.read_each(&redis::cmd("INFO")).await {
        // Not allowed to ask: a server of which nothing is known.
        Err(Fault::Refused(_)) => vec![Value::SimpleString(String::new())],
        answer => answer?,
    };
    let fsyncs = config(routes, "appendfsync").await;
    let snapshots = config(routes, "save").await;
    // The two answers come in the same order or not at all; with several servers that differ, the
    // order of a cluster's answers proves nothing, so what is not the same everywhere is unknown.
    let (append_fsync, snapshots) = (unanimous(fsyncs), unanimous(snapshots));
    let settings = |info: Value| Settings {
        append_fsync: append_fsync.clone(),
        snapshots: snapshots.clone(),
        ..Settings::from_info(&String::from_redis_value(info).unwrap_or_default())
    };
    Ok(infos.into_iter().map(settings).collect())
}

/// One setting of every server; none where the command is not allowed.
async fn config(routes: &Routes, name: &str) -> Vec<Option<String>> {
    let read = |answer: Value| {
        let pairs = std::collections::HashMap::<String, String>::from_redis_value(answer).ok()?;
        pairs.into_iter().find_map(|(found, value)| (found == name).then_some(value))
    };
    let answers = routes.read_each(redis::cmd("CONFIG").arg("GET").arg(name)).await;
    answers.map(|answers| answers.into_iter().map(read).collect()).unwrap_or_default()
}

fn unanimous(answers: Vec<Option<String>>) -> Option<String> {
    let mut answers = answers.into_iter();
    let first = answers.next()??;
    answers.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

impl Settings {
    fn from_info(info: &str) -> Self {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        let version = field("redis_version").and_then(|version| {
            let mut numbers = version.split('.').map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        Self {
            version,
            role: field("role"),
            eviction: field("maxmemory_policy"),
            append_only: field("aof_enabled").map(|enabled| enabled == "1"),
            append_fsync: None,
            snapshots: None,
        }
    }

    /// What is wrong, each with the setting's name and the remedy. A server that answers for its
    /// writes alone (no replica is waited for) must have them on the disk before it answers.
    pub fn dangers(&self, alone: bool) -> Vec<String> {
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
        match (self.version, self.role.as_deref()) {
            (Some(version), _) if version < (6, 2) => {
                Some(format!("it is version {}.{}; Claviger needs 6.2 or newer", version.0, version.1))
            }
            (_, Some("slave")) => Some("it is a replica; store.url must name the server that writes".into()),
            _ => None,
        }
    }
}

fn unknown(setting: &str, command: &str) -> String {
    format!("`{setting}` cannot be learnt, which counts as unsafe; let Claviger's Redis user run {command}")
}
