#!/usr/bin/env bash
# `make bench`: Tallygate beside nginx and a bare proxy. Installs nginx and PostgreSQL where they are missing, builds with the
# profile that is shipped, starts a private PostgreSQL, runs, and stops everything. Arguments go to `tallygate-bench run`.
set -eu -o pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

need=()
[ -x /usr/sbin/nginx ] || need+=(nginx-light)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need+=(postgresql)
command -v taskset >/dev/null || need+=(util-linux)
if [ ${#need[@]} -gt 0 ]; then
  echo "bench: installing ${need[*]}"
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "bench: please install these packages: ${need[*]}" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi

# Together: the bench's own program asks nothing of a library that the gateway does not, so the gateway is what is shipped.
cargo build --release --locked -p tallygate -p tallygate-bench

# A thousand streams are two thousand sockets of the gateway.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)"

pg_bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
pg_dir=$(mktemp -d)
as_pg=""
[ "$(id -u)" = 0 ] && as_pg="runuser -u postgres --"
stop_postgres() {
  [ -f "$pg_dir/data/postmaster.pid" ] && $as_pg "$pg_bin/pg_ctl" -D "$pg_dir/data" -m immediate stop >/dev/null 2>&1
  rm -rf "$pg_dir"
}
trap stop_postgres EXIT
[ "$(id -u)" = 0 ] && chown postgres "$pg_dir"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
$as_pg "$pg_bin/initdb" -D "$pg_dir/data" -U tallygate -A trust -E UTF8 --no-sync >/dev/null
# Beside the load, not on the core of the gateway; and where the load has real-time priority it must have it, too: the load's core
# never sleeps.
rank=()
[[ " $* " != *" --ordinary "* ]] && chrt -r 10 true 2>/dev/null && rank=(chrt -r 10)
"${rank[@]}" taskset -c 1 $as_pg "$pg_bin/pg_ctl" -D "$pg_dir/data" -w -l "$pg_dir/log" \
  -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$pg_dir -c max_wal_size=4GB" start >/dev/null
BENCH_POSTGRES_URL="postgres://tallygate@127.0.0.1:$port/postgres"
BENCH_POSTGRES_PID=$(head -1 "$pg_dir/data/postmaster.pid")
export BENCH_POSTGRES_URL BENCH_POSTGRES_PID

"$target/release/tallygate-bench" run --tallygate "$target/release/tallygate" "$@"
