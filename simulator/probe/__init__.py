"""Asks a live endpoint: what it can do, then cell by cell, as numbers only. Inputs are an address and cells; sockets are opened here."""
