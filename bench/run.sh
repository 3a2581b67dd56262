#!/usr/bin/env bash
# `make bench`: Tallygate beside nginx and a bare proxy. Installs nginx and PostgreSQL where they are missing, builds what is
# shipped, starts a private PostgreSQL, runs, and stops everything. Arguments go to `tallygate-bench run`.
set -eu -o pipefail
cd "$(dirname "$0")/.."
. bench/postgres.sh
. tests/packages.sh
target=${CARGO_TARGET_DIR:-target}

need=()
[ -x /usr/sbin/nginx ] || need+=(nginx-light)
[ -n "$(postgres_bin)" ] || need+=(postgresql)
command -v taskset >/dev/null || need+=(util-linux)
install_packages bench "${need[@]}"

bench/release.sh

# A thousand streams are two thousand sockets of the gateway.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)"

trap stop_postgres EXIT
# Beside the load, not on the core of the gateway; and where the load has real-time priority it must have it, too: the load's core
# never sleeps.
rank=()
[[ " $* " != *" --ordinary "* ]] && chrt -r 10 true 2>/dev/null && rank=(chrt -r 10)
start_postgres "${rank[@]}" taskset -c 1

"$target/release/tallygate-bench" run --tallygate "$target/shipped/tallygate" "$@"
