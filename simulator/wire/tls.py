"""Whom a TLS client trusts. No inputs but the certificates of the machine and of the ``certifi`` package."""

import ssl

import httpx


def trusting() -> ssl.SSLContext:
    """A context that verifies certificates and host names, by the machine's authorities and certifi's."""
    context = httpx.create_ssl_context()
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context
