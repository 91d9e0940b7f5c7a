"""Where plain HTTP is sent when there is HTTPS: to the same path at the service's own name."""

from __future__ import annotations

from edge_node.http.messages import Plan, Request
from edge_node.http.plain import text_answer

HTTPS_PORT = 443
STRICT_TRANSPORT_SECURITY = "Strict-Transport-Security"


def https_url(name: str, port: int, target: str) -> str:
    """The URL of a request target over TLS.

    `name` and `port` are the service's, never what the request says of its host: nobody can be sent elsewhere
    by a forged one. `target` is in origin form, or `*` for the server as a whole (RFC 9112 section 3.2).
    """
    authority = name if port == HTTPS_PORT else f"{name}:{port}"
    return f"https://{authority}{'' if target == '*' else target}"


def redirect_to_https(request: Request, name: str, port: int, edge: str) -> Plan:
    """The answer to a request that is in order but came without TLS: 308, so that the method stays
    (RFC 9110 section 15.4.9)."""
    return text_answer(
        request.method,
        308,
        "this service is for HTTPS",
        (("Nearcast-Edge", edge),),
        (("Location", https_url(name, port, request.target)),),
        close=request.has_content,
    )


def strict_transport_security(max_age_s: int) -> tuple[str, str]:
    """The field that keeps browsers from asking without TLS (RFC 6797 section 6.1). It is for answers over
    TLS only (section 7.2)."""
    return STRICT_TRANSPORT_SECURITY, f"max-age={max_age_s}"
