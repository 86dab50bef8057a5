#!/usr/bin/env bash
#
# get-access-token: how many tokens a second Claviger hands out, beside what the machine can do at most.
#
#   benches/get-access-token.sh             about 5 minutes, after a release build
#   ROUNDS=1 SECONDS_EACH=3 benches/get-access-token.sh
#
# Starts a release build on SQLite, one on Redis (every write on disk before it counts), one on Redis
# without the cache, and a bare actix-web server that answers the same bytes. Loads them in turn with
# the same wrk settings: POST with an API key, tokens of 1,000 connections at random, 32 clients. Prints
# medians over the rounds and the ratio to the bare server, as a table in Markdown.
#
# Needs wrk, curl and redis-server. All runs on loopback; wrk shares the processors with the servers.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ROUNDS=${ROUNDS:-5} SECONDS_EACH=${SECONDS_EACH:-10} CLIENTS=${CLIENTS:-32} CONNECTIONS=${CONNECTIONS:-1000}
readonly PROVIDER=github TARGETS=(bare sqlite redis redis-uncached)
readonly CLAVIGER=target/release/claviger BARE=target/release/examples/bare-server

declare -A URL KEY
CHILDREN=()
WORK=$(mktemp -d)

say() { printf '%s\n' "$*" >&2; }

cleanup() {
  local child
  for child in "${CHILDREN[@]}"; do kill "$child" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$WORK"
}
trap cleanup EXIT

need() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || { say "$tool is needed; on Debian: apt-get install wrk curl redis-server"; exit 1; }
  done
}

free_port() {
  local port
  while port=$((20000 + RANDOM % 20000)) && (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null; do :; done
  echo "$port"
}

await() {
  local what=$1 tries=100
  shift
  until "$@" >/dev/null 2>&1; do
    ((tries-- > 0)) || { say "$what did not start; its log:"; tail -20 "$WORK/$what.log" >&2; exit 1; }
    sleep 0.1
  done
}

start_redis() {
  local name=$1 port=$2
  mkdir "$WORK/$name"
  redis-server --port "$port" --bind 127.0.0.1 --dir "$WORK/$name" --appendonly yes --appendfsync always \
    --maxmemory-policy noeviction --save "" >"$WORK/$name.log" 2>&1 &
  CHILDREN+=($!)
  await "$name" redis-cli -p "$port" ping
}

# Starts Claviger on a store, fills it, and leaves its URL and an API key.
start_claviger() {
  local name=$1 store=$2
  shift 2
  local port password
  port=$(free_port)
  URL[$name]=http://127.0.0.1:$port
  local settings=(
    "CLAVIGER__SERVER__LISTEN=127.0.0.1:$port"
    "CLAVIGER__SERVER__PUBLIC_URL=${URL[$name]}"
    CLAVIGER__SERVER__TLS_ENDS_ELSEWHERE=true
    "CLAVIGER__NODE__DATA=$WORK/node-$name"
    "CLAVIGER__STORE__URL=$store"
    "CLAVIGER__KEYS__MASTER_FILE=$WORK/master"
    CLAVIGER__MAIL__URL=log:
    CLAVIGER__TELEMETRY__LOG=warn
    "$@"
  )
  password=$(env "${settings[@]}" "$CLAVIGER" tenant create bench@example.com --generate | tail -1)
  env "${settings[@]}" "$CLAVIGER" serve >"$WORK/$name.log" 2>&1 &
  CHILDREN+=($!)
  await "$name" curl -sf "${URL[$name]}/readyz"
  KEY[$name]=$(post "$name" -u "bench@example.com:$password" /create-api-key '{"name":"bench"}' | field key)
  fill "$name"
}

# post NAME [curl options] PATH BODY
post() {
  local name=$1 path=${*: -2:1} body=${*: -1}
  curl -sS --fail-with-body -H 'content-type: application/json' "${@:2:$#-3}" -d "$body" "${URL[$name]}$path" ||
    { say; say "$name refused $path"; exit 1; }
}

field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

# Real tokens are about this long.
token() { head -c 120 /dev/urandom | base64 -w0 | tr '+/' '-_'; }

fill() {
  local name=$1 n list=$WORK/import-$1
  say "$name: importing $CONNECTIONS connections"
  post "$name" -H "authorization: Bearer ${KEY[$name]}" /enable-provider \
    "{\"provider\":\"$PROVIDER\",\"client_id\":\"bench\",\"client_secret\":\"bench-secret\",\"scopes\":[\"repo\"]}" >/dev/null
  for ((n = 1; n <= CONNECTIONS; n++)); do
    ((n == 1)) || echo next
    echo "url = \"${URL[$name]}/import-connection\""
    echo "header = \"authorization: Bearer ${KEY[$name]}\""
    echo 'header = "content-type: application/json"'
    echo "data = \"{\\\"provider\\\":\\\"$PROVIDER\\\",\\\"end_user_id\\\":\\\"user-$n\\\",\\\"access_token\\\":\\\"$(token)\\\",\\\"scope\\\":[\\\"repo\\\"]}\""
    echo 'output = "/dev/null"'
    echo fail
  done >"$list"
  curl -sS --fail-early -K "$list" || { say "$name refused an import"; exit 1; }
}

start_bare() {
  local port
  port=$(free_port)
  URL[bare]=http://127.0.0.1:$port
  KEY[bare]=${KEY[sqlite]}
  post sqlite -H "authorization: Bearer ${KEY[sqlite]}" /get-access-token \
    "{\"provider\":\"$PROVIDER\",\"end_user_id\":\"user-$CONNECTIONS\"}" >"$WORK/answer"
  "$BARE" "127.0.0.1:$port" "$WORK/answer" >"$WORK/bare.log" 2>&1 &
  CHILDREN+=($!)
  await bare curl -s "${URL[bare]}"
}

# One run: requests per second, median and 99th percentile in milliseconds, failures.
load() {
  local name=$1 seconds=$2
  wrk -t2 -c"$CLIENTS" -d"${seconds}s" --latency -s benches/get-access-token.lua "${URL[$name]}" \
    -- "${KEY[$name]}" "$PROVIDER" "$CONNECTIONS" | sed -n 's/^RESULT //p'
}

# The middle of a column of a target's runs.
median() { cut -d' ' -f"$2" "$WORK/runs-$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

table() {
  local name rate bare
  bare=$(median bare 1)
  echo
  echo "$(date -u +%F), $(nproc) processors ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)), $(uname -sr)."
  echo "wrk: $CLIENTS clients, $CONNECTIONS connections at random, $ROUNDS rounds of $SECONDS_EACH s; answers of $(stat -c %s "$WORK/answer") bytes."
  echo
  echo "| server | requests/s (median) | to the bare server | median, ms | 99 %, ms |"
  echo "|---|---|---|---|---|"
  for name in "${TARGETS[@]}"; do
    rate=$(median "$name" 1)
    echo "| $name | $rate | $(awk "BEGIN { printf \"%.2f\", $rate / $bare }") | $(median "$name" 2) | $(median "$name" 3) |"
  done
}

main() {
  need wrk curl redis-server redis-cli
  cargo build --release --locked --bin claviger --example bare-server
  "$CLAVIGER" key generate >"$WORK/master"
  chmod 600 "$WORK/master"
  local first second
  first=$(free_port) && start_redis redis-server-1 "$first"
  second=$(free_port) && start_redis redis-server-2 "$second"
  start_claviger sqlite "sqlite:$WORK/claviger.db"
  start_claviger redis "redis://127.0.0.1:$first"
  start_claviger redis-uncached "redis://127.0.0.1:$second" CLAVIGER__CACHE__BYTES=0
  start_bare

  local round name run
  for name in "${TARGETS[@]}"; do load "$name" 2 >/dev/null; done
  for ((round = 1; round <= ROUNDS; round++)); do
    for name in "${TARGETS[@]}"; do
      run=$(load "$name" "$SECONDS_EACH")
      say "round $round, $name: $run (requests/s, median ms, 99 % ms, failures)"
      [[ ${run##* } == 0 ]] || { say "$name failed requests"; tail -5 "$WORK/$name.log" >&2; exit 1; }
      echo "$run" >>"$WORK/runs-$name"
    done
  done
  table
}

main "$@"
