#!/usr/bin/env bash
# `make chaos`: the fault tables. Sets up what they need, builds the binary, runs all scenarios one after another, or those
# that are named (`tests/chaos/run.sh U7 C11`, a whole table: `tests/chaos/run.sh U`), and ends with a table.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
. tests/packages.sh
target=${CARGO_TARGET_DIR:-target}

need=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need+=(postgresql)
python3 -c 'import venv, ensurepip' 2>/dev/null || need+=(python3-venv)
# The clock is stepped with it.
compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || need+=(libfaketime)
install_packages chaos "${need[@]}"

venv=tests/chaos/.venv
if [ ! -x $venv/bin/python ] || ! cmp -s tests/chaos/requirements.txt $venv/requirements.txt; then
  echo "chaos: installing the Python packages"
  python3 -m venv $venv
  $venv/bin/pip install --quiet --disable-pip-version-check -r tests/chaos/requirements.txt
  cp tests/chaos/requirements.txt $venv/requirements.txt
fi

if [ -z "${TALLYGATE_BIN:-}" ]; then
  make --no-print-directory build
  TALLYGATE_BIN="$(cd "$target" && pwd)/debug/tallygate"
  export TALLYGATE_BIN
fi
# 5,000 slow clients and as many sockets of their own.
ulimit -n "$(ulimit -Hn)"
status=0
$venv/bin/python tests/chaos/run.py "$@" || status=$?
# With everything goes a real model as the last resort.
if [ $# -eq 0 ]; then tests/local_model/run.sh || status=1; fi
exit $status
