//! The promises of the store's port, kept by every adapter: `suite` holds one small function per
//! promise, run here against memory, SQLite, a real Redis, and a real Redis in cluster mode. The
//! other files test what one adapter alone can get wrong.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "a real server comes and goes in real time")]

#[path = "../support/clock.rs"]
mod clock;
mod cluster;
mod epoch;
mod journal;
mod listing;
mod model;
mod proxy;
mod redis;
#[path = "../support/redis.rs"]
mod redis_server;
mod sealed;
mod sqlite;
mod suite;
mod world;

macro_rules! every_store {
    ($($promise:ident),* $(,)?) => {
        every_store!(@ memory, $($promise),*);
        every_store!(@ sqlite, $($promise),*);
        every_store!(@ redis, $($promise),*);
        every_store!(@ redis_cluster, $($promise),*);
    };
    (@ $store:ident, $($promise:ident),*) => {
        mod $store {
            use crate::{suite, world::World};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    suite::$promise(&World::$store().await).await;
                }
            )*
        }
    };
}

mod on {
    every_store!(
        a_batch_is_applied_whole_and_in_order,
        a_batch_with_one_false_precondition_writes_nothing,
        of_64_writers_one_wins_each_round,
        of_64_makers_one_makes,
        of_256_takers_one_gets_the_value,
        a_value_past_its_time_is_not_seen,
        a_new_value_has_its_own_time_to_live,
        every_version_is_told_from_every_other,
        odd_bytes_are_just_bytes,
        partitions_do_not_see_each_other,
        a_listing_is_in_byte_order_within_its_bounds,
        a_listing_meets_each_key_once_while_others_write,
        the_largest_values_come_back_whole,
        limits_hold_at_below_and_above,
        a_batch_over_two_partitions_is_refused,
        an_attempt_is_settled_and_a_late_one_barred,
        a_store_takes_a_ping,
    );
}
