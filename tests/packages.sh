# shellcheck shell=bash
# Sourced by the scripts that need packages of the system.

# install_packages WHO PACKAGE...: installs them where that can be done (root on Debian or Ubuntu), else names them and ends.
install_packages() {
  local who=$1
  shift
  [ $# -gt 0 ] || return 0
  echo "$who: installing $*"
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "$who: please install these packages: $*" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
