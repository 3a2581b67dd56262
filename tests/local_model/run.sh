#!/usr/bin/env bash
# The real local model as the last resort of a route. `make chaos` runs it; needs the built binary and nothing else.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
TALLYGATE_LOCAL_MODEL_PYTHON=$(tests/local_model/setup.sh)
export TALLYGATE_LOCAL_MODEL_PYTHON
exec "$TALLYGATE_LOCAL_MODEL_PYTHON" -m pytest tests/local_model -q -s "$@"
