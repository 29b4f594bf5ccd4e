"""Names for requests."""

import itertools
import secrets

_PROCESS_ID = secrets.token_hex(6)
_NUMBERS = itertools.count(1)


def new_request_id() -> str:
    """Return a name that no other request of any process has."""
    return f"{_PROCESS_ID}-{next(_NUMBERS):x}"
