#!/usr/bin/env bash
# The real local model as the last resort of a route. `make chaos` runs it; needs the built binary and the tests' venv.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
TALLYGATE_LOCAL_MODEL_PYTHON=$(tests/local_model/setup.sh)
export TALLYGATE_LOCAL_MODEL_PYTHON=$PWD/${TALLYGATE_LOCAL_MODEL_PYTHON#"$PWD"/}
exec tests/.venv/bin/python -m pytest tests/local_model -q -s "$@"
