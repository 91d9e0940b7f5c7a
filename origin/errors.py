"""What the origin's commands report in one line."""

from __future__ import annotations


class OriginError(Exception):
    """Something the person at the command line can mend; the message says what, where and how."""
