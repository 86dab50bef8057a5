#!/usr/bin/env bash
#
# durable-refreshes: how many refreshes a second one node makes durable, on SQLite and on Redis.
#
#   benches/durable-refreshes.sh                          about 3 minutes, after a release build
#   CLAVIGER_LONG_THROUGHPUT_SECONDS=5 benches/durable-refreshes.sh
#
# A release build calls a provider on loopback (TLS, a connection for each call, as everywhere), for 32
# callers who want a new token each time. Beside each figure stands what the machine can do at most one
# by one: an fdatasync of 4 KiB, a SET that is on the disk, a SET that a replica has. A ratio above 1 is
# the gain of grouping: several refreshes share one fsync, and several connections wait for the replica
# at once. Callers, provider, stores and node share the processors.
#
# Needs cargo-nextest, openssl and redis-server.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CLAVIGER_LONG_THROUGHPUT_SECONDS=${CLAVIGER_LONG_THROUGHPUT_SECONDS:-30}
cargo nextest run --release --test reliability --no-capture are_durable_and_counted 2>&1 | grep -E '^throughput|FAIL|panicked'
