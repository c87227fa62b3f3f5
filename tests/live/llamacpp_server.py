"""llama.cpp's OpenAI-compatible HTTP server on loopback, run by a Python that has `xllamacpp`, until it is stopped.

``python tests/live/llamacpp_server.py MODEL.gguf --port 8200``; without a port it takes a free one. It prints its address when it serves.
"""

import argparse
import signal

import xllamacpp


def parameters(given: argparse.Namespace) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = given.model
    params.model_alias = {"tiny"}
    params.hostnames = ["127.0.0.1"]
    params.port = given.port
    params.n_parallel = given.slots
    params.n_ctx = given.slots * given.context_tokens  # shared out evenly among the slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    params.endpoint_metrics = True
    params.cache_ram_mib = 0  # no second cache in host memory: a slot remembers its last request only
    params.fit_params = False  # serve what was asked, or fail
    params.ui = False
    return params


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a GGUF model on loopback.")
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--context-tokens", type=int, default=8192, help="of each slot")
    parser.add_argument("--threads", type=int, default=1)
    server = xllamacpp.Server(parameters(parser.parse_args()))
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
