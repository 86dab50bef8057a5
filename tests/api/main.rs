//! The product as its users see it: over HTTP alone, in one process, with a clock that tests move.

#[path = "../support/clock.rs"]
mod clock;
#[path = "../support/fake_provider.rs"]
mod fake_provider;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/forbidden.rs"]
mod forbidden;
#[path = "../support/ledger/mod.rs"]
mod ledger;
#[path = "../support/oauth1.rs"]
mod oauth1_server;
#[path = "../support/oidc.rs"]
mod oidc;
#[path = "../support/provider_file.rs"]
mod provider_file;
#[path = "../support/redis.rs"]
mod redis;
#[path = "../support/swapped_kv.rs"]
mod swapped_kv;
#[path = "../support/switched_kv.rs"]
mod switched_kv;

mod at_once;
mod canary;
mod catalogue;
mod clocks;
mod contract;
mod defined;
mod deletes;
mod device;
mod egress;
mod extending;
mod grant_end;
mod herd;
mod installation;
mod introspection;
mod isolation;
mod journal;
mod journey;
mod lifecycle;
mod misbehaviour;
mod moving;
mod nodes;
mod oauth1;
mod oauthhandler;
mod outgoing;
mod patterns;
mod races;
mod restore;
mod shapes;
mod sweep;
mod tokens;
mod unruly_kv;
mod world;
mod young;
