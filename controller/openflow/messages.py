"""From rules, groups and packets to OpenFlow 1.4 messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from os_ken.ofproto import ofproto_v1_4 as ofp
from os_ken.ofproto import ofproto_v1_4_parser as parser

from controller.plan.rules import (
    Action,
    Bucket,
    Change,
    DecHopLimit,
    Group,
    GroupKind,
    Match,
    Output,
    Prefix,
    Punt,
    Rule,
    SetEthDst,
    SetEthSrc,
    Step,
    Tables,
    ToGroup,
    diff,
)
from controller.wire.frames import ETH_TYPE_IPV6

OFP_VERSION = ofp.OFP_VERSION

_BUNDLE_FLAGS = ofp.OFPBF_ATOMIC | ofp.OFPBF_ORDERED
_GROUP_TYPES = {GroupKind.ALL: ofp.OFPGT_ALL, GroupKind.FAST_FAILOVER: ofp.OFPGT_FF}
_OXM_NAMES = {"source_class": "metadata", "hop_limit": "nw_ttl"}
_CLASS_MASK = 0xFF
_GROUP_COMMANDS = {
    Step.GROUP_ADD: ofp.OFPGC_ADD,
    Step.GROUP_MODIFY: ofp.OFPGC_MODIFY,
    Step.GROUP_DELETE: ofp.OFPGC_DELETE,
}


def change_message(datapath: Any, change: Change) -> Any:
    """The FlowMod or GroupMod of one change."""
    item = change.item
    if isinstance(item, Group):
        command = _GROUP_COMMANDS[change.step]
        buckets = [] if change.step is Step.GROUP_DELETE else [_bucket(bucket) for bucket in item.buckets]
        return parser.OFPGroupMod(datapath, command, _GROUP_TYPES[item.kind], item.number, buckets)
    deletes = change.step is Step.RULE_DELETE
    return parser.OFPFlowMod(
        datapath,
        cookie=item.cookie,
        table_id=item.table,
        command=ofp.OFPFC_DELETE_STRICT if deletes else ofp.OFPFC_ADD,
        priority=item.priority,
        out_port=ofp.OFPP_ANY,
        out_group=ofp.OFPG_ANY,
        match=_match(item.match),
        instructions=[] if deletes else _instructions(item),
    )


def wipe_messages(datapath: Any) -> list[Any]:
    """Delete every flow and every group, whoever installed them."""
    flows = parser.OFPFlowMod(
        datapath,
        table_id=ofp.OFPTT_ALL,
        command=ofp.OFPFC_DELETE,
        out_port=ofp.OFPP_ANY,
        out_group=ofp.OFPG_ANY,
    )
    return [flows, parser.OFPGroupMod(datapath, ofp.OFPGC_DELETE, ofp.OFPGT_ALL, ofp.OFPG_ALL)]


def update_messages(datapath: Any, installed: Tables | None, desired: Tables) -> list[Any]:
    """The messages that lead from `installed` (None: unknown state, wiped first) to `desired`."""
    first = wipe_messages(datapath) if installed is None else []
    changes = diff(installed or Tables(), desired)
    return first + [change_message(datapath, change) for change in changes]


def bundle_messages(datapath: Any, bundle_id: int, messages: Iterable[Any]) -> list[Any]:
    """The messages as one ordered and atomic bundle: packets meet either the old tables or the new."""

    def control(kind: int) -> Any:
        return parser.OFPBundleCtrlMsg(datapath, bundle_id, kind, _BUNDLE_FLAGS, [])

    added = [parser.OFPBundleAddMsg(datapath, bundle_id, _BUNDLE_FLAGS, message, []) for message in messages]
    return [control(ofp.OFPBCT_OPEN_REQUEST), *added, control(ofp.OFPBCT_COMMIT_REQUEST)]


def barrier_message(datapath: Any) -> Any:
    """A barrier: its reply says that everything before it is done."""
    return parser.OFPBarrierRequest(datapath)


def packet_out_message(datapath: Any, port: int, frame: bytes) -> Any:
    """A frame to send out of a port."""
    actions = [parser.OFPActionOutput(port)]
    return parser.OFPPacketOut(datapath, ofp.OFP_NO_BUFFER, ofp.OFPP_CONTROLLER, actions, frame)


def port_is_up(description: Any) -> bool:
    """Whether a port description says that the port is enabled and has a carrier."""
    return not (description.config & ofp.OFPPC_PORT_DOWN or description.state & ofp.OFPPS_LINK_DOWN)


def is_deletion(reason: int) -> bool:
    """Whether a port status message says that the port is gone."""
    return bool(reason == ofp.OFPPR_DELETE)


def _match(match: Match) -> Any:
    # os-ken would sort the fields by number, which puts nw_ttl before the eth_type it depends on.
    fields = [("eth_type", ETH_TYPE_IPV6)]
    fields += [(_OXM_NAMES.get(name, name), _value(value)) for name, value in match.fields().items()]
    return parser.OFPMatch(_ordered_fields=fields)


def _value(value: int | str | Prefix) -> Any:
    if isinstance(value, Prefix):
        address = Prefix(value.value, 128)
        return str(address) if value.length == 128 else (str(address), str(Prefix(value.mask, 128)))
    return int(value) if isinstance(value, int) else value


def _instructions(rule: Rule) -> list[Any]:
    instructions = []
    if rule.actions:
        actions = [_action(action) for action in rule.actions]
        instructions.append(parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions))
    if rule.source_class is not None:
        instructions.append(parser.OFPInstructionWriteMetadata(rule.source_class, _CLASS_MASK))
    if rule.goto is not None:
        instructions.append(parser.OFPInstructionGotoTable(rule.goto))
    return instructions


def _bucket(bucket: Bucket) -> Any:
    watch = ofp.OFPP_ANY if bucket.watch_port is None else bucket.watch_port
    return parser.OFPBucket(0, watch, ofp.OFPG_ANY, [_action(action) for action in bucket.actions])


def _action(action: Action) -> Any:
    match action:
        case Output(port):
            return parser.OFPActionOutput(port)
        case Punt():
            return parser.OFPActionOutput(ofp.OFPP_CONTROLLER, ofp.OFPCML_NO_BUFFER)
        case SetEthSrc(mac):
            return parser.OFPActionSetField(eth_src=mac)
        case SetEthDst(mac):
            return parser.OFPActionSetField(eth_dst=mac)
        case DecHopLimit():
            return parser.OFPActionDecNwTtl()
        case ToGroup(group):
            return parser.OFPActionGroup(group)
