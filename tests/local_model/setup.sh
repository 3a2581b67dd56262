#!/usr/bin/env bash
# A real model server: llama.cpp in a wheel, and a model small enough for a test. Into a venv below `target/`, once; nothing
# of it is part of the repository. Prints the venv's Python.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
home="${CARGO_TARGET_DIR:-$PWD/target}/local-model"
if ! cmp -s tests/local_model/requirements.txt "$home/requirements.txt"; then
  echo "local model: installing the server and the model" >&2
  mkdir -p "$home"
  python3 -m venv "$home/venv" >&2
  "$home/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/local_model/requirements.txt >&2
  cp tests/local_model/requirements.txt "$home/requirements.txt"
fi
echo "$home/venv/bin/python"
