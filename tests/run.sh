#!/usr/bin/env bash
# `make test`: every tier, in the order in which a mistake is cheapest to find. Ends with a total.
#
# Servers are private to the run: PostgreSQL on a free port in a temporary folder, stopped at the end whatever happens.
set -u -o pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
# A build from cold makes no use of what an incremental one writes beside it, which is half of the folder's size.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
target=${CARGO_TARGET_DIR:-target}
passed=() failed=() skipped=()

stage() { # name, command...
  local name=$1 started=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  if "$@"; then
    passed+=("$name")
    printf '=== %s: passed in %d s\n' "$name" $((SECONDS - started))
  else
    failed+=("$name")
    printf '=== %s: FAILED after %d s\n' "$name" $((SECONDS - started))
  fi
}
skip() { skipped+=("$1"); printf '\n=== %s: skipped: %s\n' "$1" "$2"; }

stage "setup" tests/setup.sh
if [ ${#failed[@]} -gt 0 ]; then exit 1; fi

# A private PostgreSQL for the store contract. initdb refuses root, so root drops to the system's postgres user.
pg_bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
pg_dir=$(mktemp -d)
as_pg() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
stop_postgres() { [ -f "$pg_dir/data/postmaster.pid" ] && as_pg "$pg_bin/pg_ctl" -D "$pg_dir/data" -m immediate stop >/dev/null 2>&1; rm -rf "$pg_dir"; }
trap stop_postgres EXIT
start_postgres() {
  [ "$(id -u)" = 0 ] && chown postgres "$pg_dir"
  local port
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  as_pg "$pg_bin/initdb" -D "$pg_dir/data" -U tallygate -A trust -E UTF8 --no-sync >/dev/null &&
    as_pg "$pg_bin/pg_ctl" -D "$pg_dir/data" -w -l "$pg_dir/log" -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$pg_dir -c fsync=off -c max_connections=300" start >/dev/null &&
    export TALLYGATE_TEST_PG_URL="postgres://tallygate@127.0.0.1:$port/postgres"
}
stage "postgresql" start_postgres

stage "dashboard: types and lint" npm --prefix web run --silent check
stage "dashboard: unit tests" npm --prefix web run --silent test
stage "dashboard: build" make --no-print-directory web
stage "rust: format" cargo fmt --all --check
stage "rust: clippy" cargo clippy --workspace --all-targets --locked -- -D warnings

deny() {
  if ! command -v cargo-deny >/dev/null 2>&1 && [ ! -x "$target/tools/bin/cargo-deny" ]; then
    echo "installing cargo-deny into $target/tools"
    cargo install --quiet cargo-deny --version 0.20.2 --locked --root "$target/tools" || return 1
  fi
  export PATH="$target/tools/bin:$PATH"
  cargo deny --offline check bans licenses sources || return 1
  if ! timeout 60 cargo deny check advisories 2>/dev/null; then
    echo "deny: the advisory database cannot be fetched here, so advisories were not checked"
  fi
}
stage "rust: dependencies (cargo deny)" deny

stage "rust: build" cargo build --workspace --locked
if cargo nextest --version >/dev/null 2>&1; then
  stage "rust: unit, property, golden, store contract" cargo nextest run --workspace --locked --no-fail-fast --status-level fail --final-status-level fail
else
  stage "rust: unit, property, golden, store contract" cargo test --workspace --locked --no-fail-fast --lib --bins --tests
fi
stage "rust: documentation examples" cargo test --workspace --locked --doc --quiet

if [ -d ../shared/traffic ] || [ -d "${TALLYGATE_SHARED:-}/traffic" ]; then
  export TALLYGATE_SHARED=${TALLYGATE_SHARED:-$(cd .. && pwd)/shared}
else
  skip "recorded traffic" "no folder shared/traffic beside the project; the replay suites skip themselves"
fi
export TALLYGATE_BIN="$(cd "$target" && pwd)/debug/tallygate"
compose_accepts() { docker-compose -f docker-compose.yml config -q; }
stage "docker-compose.yml is accepted" compose_accepts
stage "black box: SDKs, agents, replay, money, limits, bad input, dashboard" tests/.venv/bin/python -m pytest tests -n 2 -q

printf '\n=== total: %d stages passed, %d failed, %d skipped\n' ${#passed[@]} ${#failed[@]} ${#skipped[@]}
for name in "${failed[@]}"; do printf '    failed: %s\n' "$name"; done
[ ${#failed[@]} -eq 0 ]
