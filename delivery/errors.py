"""What delivery raises when something outside of the protocol is in its way."""

from __future__ import annotations


class DeliveryError(Exception):
    """A session cannot be sent or served as asked; the message says in one line what, where, what to do."""
