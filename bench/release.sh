#!/usr/bin/env bash
# `make release`: the binary that is shipped, at TARGET/shipped/tallygate (TARGET: $CARGO_TARGET_DIR or target). The gateway is
# built with counters in it, does for a minute what real traffic makes it do, and is built again by what was counted.
# docs/performance.md
set -eu -o pipefail
cd "$(dirname "$0")/.."
. bench/postgres.sh
. tests/packages.sh
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
pgo=$target/pgo
host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\)\..*/\1/p')

# A profile can only be read by the LLVM that the compiler is made of: rustup's llvm-tools, or the system's of the same major version.
find_profdata() {
  local found
  for found in "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" "llvm-profdata-$llvm" "/usr/lib/llvm-$llvm/bin/llvm-profdata" llvm-profdata; do
    if [[ $("$found" --version 2>/dev/null) == *"LLVM version $llvm."* ]]; then
      profdata=$found
      return
    fi
  done
  return 1
}
need=()
find_profdata || { echo "release: no llvm-profdata of LLVM $llvm (rustup's llvm-tools, or a package)"; need+=("llvm-$llvm"); }
command -v openssl >/dev/null || need+=(openssl)
install_packages release "${need[@]}"
find_profdata || { echo "release: no llvm-profdata of LLVM $llvm, though its package is there" >&2; exit 1; }

# build_gateway FOLDER FLAG...: with more flags for the compiler. The target is named so that they are not for build scripts and
# macros, and the folder is of its own so that other builds are not undone.
build_gateway() {
  local folder=$1 flags=${CARGO_ENCODED_RUSTFLAGS:-} flag
  shift
  if [ -z "$flags" ]; then
    for flag in ${RUSTFLAGS:-}; do flags+=${flags:+$'\x1f'}$flag; done
  fi
  for flag in "$@"; do flags+=${flags:+$'\x1f'}$flag; done
  CARGO_ENCODED_RUSTFLAGS=$flags CARGO_TARGET_DIR=$folder cargo build --release --locked --target "$host" -p tallygate
}

echo "release: building the training (1 of 3)"
cargo build --release --locked -p tallygate-bench

echo "release: building the gateway that is trained (2 of 3)"
# What is counted is decided before the parts are linked, so these need not be linked as one, which takes minutes. Said by flags,
# not to cargo: functions have names that follow from cargo's settings, and by their names the counts are found again.
build_gateway "$pgo/counting" "-Cprofile-generate=$pgo/stray" -Clto=off -Clinker-plugin-lto=no
counting=$pgo/counting/$host/release/tallygate

# A profile is named by what it was made of: as long as that is the same, it stays, and so does what is built by it.
has_postgres=$(postgres_bin)
name=$(cat "$counting" "$target/release/tallygate-bench" | sha256sum | cut -c1-16)${has_postgres:+-postgres}
profile=$pgo/$name.profdata
if [ ! -f "$profile" ]; then
  rm -rf "$pgo"/*.profdata "$pgo/raw" "$pgo/shipping"
  # The private one, not one that a caller measures.
  unset BENCH_POSTGRES_URL BENCH_POSTGRES_PID
  if [ -n "$has_postgres" ]; then
    trap stop_postgres EXIT
    start_postgres
  else
    echo "release: PostgreSQL is not installed, so the gateway is trained on SQLite alone"
  fi
  "$target/release/tallygate-bench" train --tallygate "$counting" --profiles "$pgo/raw"
  stop_postgres
  # What gateways do all day against what each does now and then. Were all of it as hot, all of it would be inlined into one
  # another: the last step then takes the compiler half an hour and more.
  weighted=()
  for raw in "$pgo"/raw/*.profraw; do
    case $raw in */tour.profraw) weighted+=("-weighted-input=1,$raw") ;; *) weighted+=("-weighted-input=30,$raw") ;; esac
  done
  "$profdata" merge -o "$profile.part" "${weighted[@]}"
  mv "$profile.part" "$profile"
fi

echo "release: building the gateway by its profile (3 of 3)"
build_gateway "$pgo/shipping" "-Cprofile-use=$profile"
# Counts that are not found again are left out without a word.
known=$("$profdata" show --all-functions "$profile" | sed -n 's/^ *\(_[^;]*17tallygate_gateway[^;]*\):$/\1/p')
if ! grep -qaFf <(echo "$known") "$pgo/shipping/$host/release/deps/"libtallygate_gateway-*.rlib; then
  echo "release: the functions of the trained gateway have other names than those of the one that is shipped" >&2
  exit 1
fi
mkdir -p "$target/shipped"
# A file of its own: what cargo keeps is linked, not copied, and would be written over.
install "$pgo/shipping/$host/release/tallygate" "$target/shipped/tallygate"
echo "release: $target/shipped/tallygate"
