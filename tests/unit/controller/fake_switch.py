"""An OpenFlow 1.4 switch without a data plane: a socket, a thread and what the controller has told it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterable

from controller.plan.pipeline import Origin
from controller.plan.rules import COOKIE_MARK

VERSION = 5
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY = 0, 1, 2, 3, 5, 6
PACKET_IN, PORT_STATUS, PACKET_OUT, FLOW_MOD, GROUP_MOD = 10, 12, 13, 14, 15
MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 18, 19, 20, 21
METER_MOD, BUNDLE_CONTROL, BUNDLE_ADD = 29, 33, 34
PORT_DESC = 13
LINK_DOWN = 1


class FakeSwitch:
    """Connects at once. With `silent` set it goes on receiving nothing and answering nothing."""

    def __init__(self, port: int, datapath_id: int, ports: Iterable[int]) -> None:
        self.datapath_id = datapath_id
        self.ports = tuple(ports)
        self.silent = False
        self.refuse_bundles = False
        self.bundles: list[list[bytes]] = []
        self.meters: list[bytes] = []
        self.packets_out: list[tuple[int, bytes]] = []
        self.changed = threading.Condition()
        self._socket = socket.create_connection(("::1", port), timeout=10)
        self._socket.settimeout(None)
        self._send(HELLO, 1, b"")
        threading.Thread(target=self._serve, daemon=True).start()

    def packet_in(self, port: int, frame: bytes, origin: Origin) -> None:
        """Hand a packet to the controller, as a rule of this origin does."""
        match = struct.pack("!HHIIxxxx", 1, 12, 0x80000004, port)
        head = struct.pack("!IHBBQ", 0xFFFFFFFF, len(frame), 1, 0, COOKIE_MARK | origin)
        self._send(PACKET_IN, 0, head + match + b"\0\0" + frame)

    def port_status(self, port: int, is_up: bool) -> None:
        """Report a port up or down."""
        self._send(PORT_STATUS, 0, struct.pack("!B7x", 2) + _port(port, 0 if is_up else LINK_DOWN))

    def wait(self, predicate: object, timeout_s: float = 10.0) -> bool:
        """Wait until the controller has sent something that makes the predicate true."""
        with self.changed:
            return self.changed.wait_for(predicate, timeout_s)  # type: ignore[arg-type]

    def close(self) -> None:
        """Cut the connection."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _send(self, kind: int, xid: int, body: bytes) -> None:
        self._socket.sendall(struct.pack("!BBHI", VERSION, kind, 8 + len(body), xid) + body)

    def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def _serve(self) -> None:
        try:
            while not self.silent:
                _, kind, length, xid = struct.unpack("!BBHI", self._receive(8))
                body = self._receive(length - 8)
                if not self.silent:
                    self._answer(kind, xid, body)
        except (ConnectionError, OSError):
            return

    def _answer(self, kind: int, xid: int, body: bytes) -> None:
        if kind == ECHO_REQUEST:
            self._send(ECHO_REPLY, xid, body)
        elif kind == FEATURES_REQUEST:
            self._send(FEATURES_REPLY, xid, struct.pack("!QIBBxxII", self.datapath_id, 0, 254, 0, 0, 0))
        elif kind == MULTIPART_REQUEST:
            # It holds nothing, so what is not about ports is answered with nothing.
            (about,) = struct.unpack_from("!H", body)
            ports = b"".join(_port(number, 0) for number in self.ports) if about == PORT_DESC else b""
            self._send(MULTIPART_REPLY, xid, struct.pack("!HHxxxx", about, 0) + ports)
        elif kind == BUNDLE_CONTROL and self.refuse_bundles:
            self._send(ERROR, xid, struct.pack("!HH", 17, 13) + bytes(64))
        elif kind == BARRIER_REQUEST:
            self._send(BARRIER_REPLY, xid, b"")
        with self.changed:
            if kind == BUNDLE_CONTROL and body[4:6] == b"\0\0":
                self.bundles.append([])
            elif kind == BUNDLE_ADD:
                self.bundles[-1].append(body[8:])
            elif kind == METER_MOD:
                self.meters.append(body)
            elif kind == PACKET_OUT:
                (actions_length,) = struct.unpack_from("!H", body, 8)
                (out_port,) = struct.unpack_from("!I", body, 16 + 4)
                self.packets_out.append((out_port, body[16 + actions_length :]))
            self.changed.notify_all()


def _port(number: int, state: int) -> bytes:
    return struct.pack("!IHxx6sxx16sII", number, 40, bytes(6), b"port", 0, state)
