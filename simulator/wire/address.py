"""Addresses of endpoints as people type them. Input is a URL."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from simulator.errors import Mistake, UserError

ALLOWED = "http or https, a host, perhaps a port and a path, such as https://api.example.com/v1"


@dataclass(frozen=True)
class Address:
    """An endpoint; ``path`` is what its base URL has after the host, without a slash at its end."""

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, as a URL begins."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port is not None else "")

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return self.host in ("localhost", "127.0.0.1", "::1")


def address_of(url: str, command: str, option: str) -> Address:
    """An endpoint by its base URL.

    Parameters
    ----------
    command, option : str
        Where the URL was given, for the message.

    Raises
    ------
    UserError
        When it is none, or carries a user name, a query or a fragment; the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UserError(Mistake(command, option, "no address", ALLOWED)) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(Mistake(command, option, "no address", ALLOWED))
    if parts.username is not None or parts.query or parts.fragment:
        raise UserError(Mistake(command, option, "an address with a name, a query or a fragment", ALLOWED, "keys come by other ways"))
    return Address(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))
