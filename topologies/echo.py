"""One ICMPv6 echo (RFC 4443 4.1) from a network namespace, so that no ping program is needed."""

from __future__ import annotations

import socket
import struct
import time

from topologies.namespaces import NetworkNamespace

_REQUEST, _REPLY = 128, 129
_SEQUENCE = 1


def echo_ms(namespace: NetworkNamespace, address: str, timeout_s: float = 2.0) -> float | None:
    """The round trip to `address` in milliseconds, None when no answer comes in time or there is no route.

    Needs CAP_NET_RAW. Raises OSError when the namespace cannot be entered.
    """
    with namespace.entered():
        pinger = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    with pinger:
        identifier = pinger.fileno()  # two sockets of one host are told apart
        request = struct.pack("!BBHHH", _REQUEST, 0, 0, identifier, _SEQUENCE) + b"nearcast"
        began = time.monotonic()
        try:
            pinger.sendto(request, (address, 0))
            while (left_s := began + timeout_s - time.monotonic()) > 0:
                pinger.settimeout(left_s)
                answer = pinger.recv(2048)
                if answer[0] == _REPLY and answer[4:] == request[4:]:
                    return (time.monotonic() - began) * 1000
        except OSError:  # TimeoutError included
            pass
        return None
