# shellcheck shell=bash
# Sourced by the scripts beside it: a private PostgreSQL on a free port of the loopback, in a folder that goes with it.

# The programs of the newest server that is installed, or nothing.
postgres_bin() { { compgen -G '/usr/lib/postgresql/*/bin/initdb' || true; } | sort -V | tail -1 | xargs -r dirname; }

# Its user: initdb refuses root.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

# start_postgres [PREFIX...]: starts it under PREFIX (taskset, chrt), sets BENCH_POSTGRES_URL and BENCH_POSTGRES_PID.
start_postgres() {
  postgres_dir=$(mktemp -d)
  [ "$(id -u)" != 0 ] || chown postgres "$postgres_dir"
  local bin port
  bin=$(postgres_bin)
  # Perl comes with PostgreSQL.
  port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport')
  as_postgres "$bin/initdb" -D "$postgres_dir/data" -U tallygate -A trust -E UTF8 --no-sync >/dev/null
  if [ "$(id -u)" = 0 ]; then set -- "$@" runuser -u postgres --; fi
  "$@" "$bin/pg_ctl" -D "$postgres_dir/data" -w -l "$postgres_dir/log" \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$postgres_dir -c max_wal_size=4GB" start >/dev/null
  BENCH_POSTGRES_URL="postgres://tallygate@127.0.0.1:$port/postgres"
  BENCH_POSTGRES_PID=$(head -1 "$postgres_dir/data/postmaster.pid")
  export BENCH_POSTGRES_URL BENCH_POSTGRES_PID
}

# Does nothing where none was started.
stop_postgres() {
  [ -n "${postgres_dir:-}" ] || return 0
  [ ! -f "$postgres_dir/data/postmaster.pid" ] ||
    as_postgres "$(postgres_bin)/pg_ctl" -D "$postgres_dir/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$postgres_dir"
  unset BENCH_POSTGRES_URL BENCH_POSTGRES_PID
  postgres_dir=
}
