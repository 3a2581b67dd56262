#!/usr/bin/env bash
# Installs what the tests need and finds missing on a Debian or Ubuntu machine: system packages by apt, Python packages into
# tests/.venv, Node packages into tests/node and web. Says what it does; does nothing that is done already.
set -eu
cd "$(dirname "$0")/.."
. tests/packages.sh

need=()
have() { command -v "$1" >/dev/null 2>&1; }
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need+=(postgresql)
have redis-server || need+=(redis-server)
have chromium || need+=(chromium)
have tinyproxy || need+=(tinyproxy-bin)
have microsocks || need+=(microsocks)
have docker-compose || need+=(docker-compose)
[ -n "$(fc-list :lang=zh 2>/dev/null | head -1)" ] || need+=(fontconfig fonts-noto-cjk)
python3 -c 'import venv, ensurepip' 2>/dev/null || need+=(python3-venv)

install_packages setup "${need[@]}"

if [ ! -x tests/.venv/bin/python ] || ! cmp -s tests/requirements.txt tests/.venv/requirements.txt; then
  echo "setup: installing the Python packages of the tests"
  python3 -m venv tests/.venv
  tests/.venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
  cp tests/requirements.txt tests/.venv/requirements.txt
fi

node_packages() {
  if [ ! -f "$1/node_modules/.package-lock.json" ] || ! cmp -s "$1/package-lock.json" "$1/node_modules/.installed-lock.json"; then
    echo "setup: installing the Node packages of $1"
    (cd "$1" && npm ci --no-audit --no-fund --silent "${@:2}")
    cp "$1/package-lock.json" "$1/node_modules/.installed-lock.json"
  fi
}
node_packages web
node_packages tests/node
# The agents' programs come in the packages; of their install scripts only Claude Code's is needed, which links its own.
node_packages tests/agents --ignore-scripts
(cd tests/agents && node node_modules/@anthropic-ai/claude-code/install.cjs >/dev/null)
