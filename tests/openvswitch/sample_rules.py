"""Tables by hand in which every match, action, group and meter occurs that the planner may use."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from controller.plan.pipeline import Origin, SourceClass, TableId
from controller.plan.rules import (
    ANY_TAG,
    CONTROLLER_PORT,
    Bucket,
    CheckLarger,
    Commit,
    CtState,
    DecHopLimit,
    Group,
    GroupKind,
    Match,
    Meter,
    Output,
    PopTag,
    Prefix,
    Punt,
    PushTag,
    Rule,
    SetEthDst,
    SetEthSrc,
    Tables,
    ToGroup,
    Track,
)

HOST, ROUTER = "02:00:00:00:00:01", "02:00:5e:00:00:01"
USER = Prefix.of(IPv6Address("2001:db8:1::100"))
USERS = Prefix.of(IPv6Network("2001:db8:1::/48"))
SERVICE = Prefix.of(IPv6Address("2001:db8::53"))
GROUP = Prefix.of(IPv6Address("ff35::8000:1"))
TCP, UDP, ICMPV6 = 6, 17, 58
TREE, EITHER = 0x10001, 0x20001


def everything() -> Tables:
    """The tables."""
    hop = (DecHopLimit(), SetEthSrc(ROUTER), SetEthDst(HOST), Output(2))
    other = (DecHopLimit(), SetEthSrc(ROUTER), SetEthDst(HOST), Output(3))
    ingress, permit, gateway, flow, router, unicast, deliver, multicast = TableId
    rules = [
        Rule(
            ingress,
            900,
            Match(in_port=1, ip_proto=ICMPV6, icmpv6_type=135),
            Origin.CONTROL,
            (Punt(),),
            meter=1,
        ),
        Rule(ingress, 900, Match(in_port=1, ip_proto=UDP, port_dst=5351), Origin.REQUEST, (Punt(),), meter=2),
        Rule(ingress, 800, Match(in_port=1, edge_tag=ANY_TAG), Origin.NOT_FORWARDED),
        Rule(
            ingress,
            700,
            Match(in_port=1, eth_src=HOST, eth_dst=ROUTER, ipv6_src=USER),
            Origin.SOURCE,
            source_class=SourceClass.USER,
            goto=permit,
        ),
        Rule(ingress, 600, Match(in_port=2, eth_dst=ROUTER), Origin.BACKBONE, goto=router),
        Rule(ingress, 600, Match(in_port=CONTROLLER_PORT), Origin.BACKBONE, goto=router),
        Rule(ingress, 500, Match(in_port=1, ipv6_src=USERS), Origin.CLAIM, (Punt(),), meter=1),
        Rule(permit, 10, Match(source_class=SourceClass.USER, ipv6_dst=USERS), Origin.PERMIT, goto=gateway),
        Rule(permit, 1, Match(source_class=SourceClass.DNS), Origin.NO_ROUTE, (Punt(),), meter=2),
        Rule(gateway, 10, Match(in_port=1), Origin.GATEWAY, (Track(7, flow),)),
        Rule(gateway, 20, Match(in_port=1, is_fragment=True), Origin.FRAGMENT, (Track(7, flow),), meter=2),
        Rule(gateway, 20, Match(in_port=2, is_fragment=False), Origin.GATEWAY, goto=router),
        Rule(flow, 30, Match(ct_state=CtState.INVALID), Origin.GATEWAY),
        Rule(
            flow,
            20,
            Match(ct_state=CtState.NEW, ipv6_dst=SERVICE),
            Origin.SERVICE,
            (Commit(7, 3),),
            goto=router,
        ),
        Rule(flow, 20, Match(in_port=1, ct_state=CtState.NEW), Origin.GATEWAY, (Commit(7),), goto=router),
        Rule(
            flow,
            20,
            Match(ct_state=CtState.ESTABLISHED, ct_mark=2, ipv6_dst=SERVICE),
            Origin.PIN,
            (PushTag(2),),
            goto=router,
        ),
        Rule(flow, 20, Match(ct_state=CtState.RELATED), Origin.GATEWAY, goto=router),
        Rule(router, 20, Match(hop_limit=0), Origin.TIME_EXCEEDED, (Punt(),), meter=2),
        Rule(router, 20, Match(hop_limit=1), Origin.TIME_EXCEEDED, (Punt(),), meter=2),
        Rule(router, 10, Match(ipv6_dst=USERS), Origin.TOO_BIG, (CheckLarger(1414, 3),), goto=unicast),
        Rule(router, 1, Match(), Origin.ROUTE, goto=unicast),
        Rule(unicast, 300, Match(too_big=3, ipv6_dst=USERS), Origin.TOO_BIG, (Punt(),), argument=1400),
        Rule(unicast, 200, Match(edge_tag=2, ipv6_dst=SERVICE), Origin.PIN, (PopTag(), *hop)),
        Rule(unicast, 200, Match(ipv6_dst=SERVICE), Origin.SERVICE, (PushTag(4), *hop)),
        Rule(unicast, 100, Match(ipv6_dst=USERS), Origin.ROUTE, (ToGroup(EITHER),)),
        Rule(unicast, 228, Match(ipv6_dst=USER), Origin.ROUTE, (Track(7, deliver),)),
        Rule(unicast, 1, Match(), Origin.NO_ROUTE, (Punt(),), meter=2),
        Rule(deliver, 10, Match(ct_state=CtState.ESTABLISHED, ipv6_dst=USER), Origin.GATEWAY, hop),
        Rule(deliver, 10, Match(ip_proto=TCP, ipv6_dst=USER, port_dst=22), Origin.GATEWAY, (Commit(7), *hop)),
        Rule(multicast, 20, Match(in_port=1, scope=5), Origin.SCOPE),
        Rule(
            multicast, 10, Match(in_port=2, ipv6_src=SERVICE, ipv6_dst=GROUP), Origin.TREE, (ToGroup(TREE),)
        ),
    ]
    groups = [
        Group(EITHER, GroupKind.FAST_FAILOVER, (Bucket(hop, 2), Bucket(other, 3))),
        Group(
            TREE, GroupKind.ALL, (Bucket((DecHopLimit(), SetEthSrc(ROUTER), Output(3))), Bucket((Output(4),)))
        ),
    ]
    return Tables.of(rules, groups, [Meter(1, 20, 40), Meter(2, 100, 200)])


def changed() -> Tables:
    """The same with one of each changed, one of each less and one more."""
    tables = everything()
    rules = [rule for rule in tables.rules.values() if rule.origin is not Origin.PIN and rule.meter != 1]
    rules[0] = Rule(TableId.INGRESS, 950, Match(in_port=3), Origin.CLAIM, (Punt(),), meter=3)
    group = Group(EITHER, GroupKind.FAST_FAILOVER, (Bucket((Output(3),), 3), Bucket((Output(2),), 2)))
    tree = Group(TREE, GroupKind.ALL, (Bucket((Output(4),)),))
    return Tables.of(rules, [group, tree], [Meter(2, 50, 100), Meter(3, 1, 1)])


TABLES = {"everything": everything, "changed": changed, "nothing": Tables}
