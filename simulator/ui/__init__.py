"""The what-if page: a form on loopback, answered within seconds by the public API (`listen.py` opens its socket; docs/ui.md)."""
