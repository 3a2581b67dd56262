#!/bin/bash
# Builds the fuzz targets with coverage that stable Rust can write, and runs each for $1 seconds (or the targets named after it).
# What a run learns is brought, minimised, into corpus/<target>; what breaks lies in artifacts/<target>.
set -eu -o pipefail
cd "$(dirname "$0")"

seconds=${1:-600}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(decoders streams sse schema)

# Longest input, in bytes: what breaks on more breaks on less, and short inputs run by the ten thousand.
max_len=4096
triple=$(rustc -vV | sed -n 's/^host: //p')
# `--target` keeps the flags from build scripts.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Clink-dead-code --cfg fuzzing"
echo "building the fuzz targets"
cargo build --quiet --locked --release --target "$triple"

for target in "${targets[@]}"; do
  binary=target/$triple/release/$target
  grown=target/corpus/$target
  mkdir -p "$grown" "corpus/$target" "artifacts/$target"
  echo "fuzzing $target for $seconds s"
  "$binary" "$grown" "corpus/$target" -max_total_time="$seconds" -max_len=$max_len -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="artifacts/$target/" -print_final_stats=1 -verbosity=1 2>&1 |
    grep -Ev '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse|RELOAD)' || { echo "$target broke: see fuzz/artifacts/$target" >&2; exit 1; }
  "$binary" -set_cover_merge=1 -max_len=$max_len "corpus/$target" "$grown" 2>&1 | tail -1
done
