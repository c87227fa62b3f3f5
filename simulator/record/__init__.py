"""Records what agents ask of a live endpoint, as numbers only: a proxy on loopback (`proxy.py`, which opens sockets) and its ledger."""
