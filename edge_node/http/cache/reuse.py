"""Whether a stored response may answer a request (RFC 9111 section 4, RFC 5861)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge_node.http.cache.directives import Directives, parse_directives
from edge_node.http.cache.policy import Policy
from edge_node.http.cache.status import Forwarded
from edge_node.http.cache.stored import StoredResponse
from edge_node.http.messages import Request


class Use(Enum):
    """What to do with a stored response."""

    SERVE = "serve"
    SERVE_AND_VALIDATE = "serve it, and validate it meanwhile"
    VALIDATE = "validate it first"


@dataclass(frozen=True, slots=True)
class Choice:
    """The `use` of a stored response; `why` the request is forwarded, if it is."""

    use: Use
    why: Forwarded = Forwarded.STALE


class Failure(Enum):
    """How a validation fails: the origin answers 500, 502, 503 or 504, or not at all."""

    ERROR = "error"
    UNREACHABLE = "unreachable"


ERRORS = frozenset({500, 502, 503, 504})
"""Status codes in the place of which stale-if-error lets a stale response be sent (RFC 5861 section 4)."""


def request_directives(request: Request, policy: Policy) -> Directives:
    """The Cache-Control of a request, as far as the policy lets it count."""
    return parse_directives(request.field("cache-control")) if policy.honours_requests else Directives()


def choose_use(request: Request, stored: StoredResponse, now_s: float, policy: Policy) -> Choice:
    """What to do with the response that is stored for `request`."""
    wishes = request_directives(request, policy)
    left_s = stored.time_left_s(now_s)
    if stored.terms.must_validate:
        return Choice(Use.VALIDATE)
    if _is_unwanted(wishes, stored.age_s(now_s), left_s):
        return Choice(Use.VALIDATE, Forwarded.REQUEST)
    if left_s > 0:
        return Choice(Use.SERVE)
    if stored.terms.never_stale:
        return Choice(Use.VALIDATE)
    if wishes.has("max-stale") and (
        wishes.applies_to_all("max-stale") or -left_s <= (wishes.seconds("max-stale") or 0)
    ):
        return Choice(Use.SERVE)
    if -left_s <= stored.terms.while_revalidate_s and stored.terms.while_revalidate_s:
        return Choice(Use.SERVE_AND_VALIDATE)
    return Choice(Use.VALIDATE)


def may_stand_in(
    request: Request, stored: StoredResponse, failure: Failure, now_s: float, policy: Policy
) -> bool:
    """Whether a stored response may be sent although its validation failed: nothing forbids it, and the
    response, the request or, while nobody answers, the policy allows it (RFC 9111 section 4.2.4, RFC 5861
    section 4)."""
    wishes = request_directives(request, policy)
    left_s = stored.time_left_s(now_s)
    if stored.terms.must_validate or _is_unwanted(wishes, stored.age_s(now_s), left_s):
        return False
    if left_s > 0:
        return True
    if stored.terms.never_stale:
        return False
    allowed_s = max(stored.terms.if_error_s, wishes.seconds("stale-if-error") or 0)
    if failure is Failure.UNREACHABLE:
        allowed_s = max(allowed_s, policy.unreachable_stale_s)
    return -left_s <= allowed_s


def _is_unwanted(wishes: Directives, age_s: float, left_s: float) -> bool:
    """Whether the request's no-cache, max-age or min-fresh rules the response out (section 5.2.1)."""
    if wishes.has("no-cache"):
        return True
    most_s, least_s = wishes.seconds("max-age"), wishes.seconds("min-fresh")
    # max-age=0 asks for validation even of what came this very moment.
    if most_s is not None and (age_s > most_s or most_s == 0):
        return True
    return least_s is not None and left_s < least_s
