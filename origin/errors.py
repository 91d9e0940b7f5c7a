"""What the origin's commands report in one line."""

from __future__ import annotations

from delivery.errors import DeliveryError


class OriginError(DeliveryError):
    """Something the person at the command line can mend; the message says what, where and how."""
