"""A request that is answered by an error, in OpenAI's form. Raised by what reads requests."""

import json


class Refused(Exception):  # noqa: N818
    """Status, message, and what OpenAI's errors say besides.

    Attributes
    ----------
    status : int
        HTTP status.
    param, code : str or None
        The field at fault, and a word for programs.
    """

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    @property
    def body(self) -> bytes:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return json.dumps({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}).encode()
