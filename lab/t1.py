import time
from pathlib import Path
def run(out, work, **kw):
    from lab.inside import progress
    import experiments.testbed as tb
    from experiments.scenario import Scenario, Mode
    from topologies.files import load
    tb._WARM_MODULES=tuple(m for m in tb._WARM_MODULES if not m.startswith("origin"))
    for m in tb._WARM_MODULES:
        import importlib; importlib.import_module(m); progress("import "+m)
    s=Scenario("edge",Mode.EDGE,load("metro"),1,all_pairs=True)
    out.joinpath("logs").mkdir(exist_ok=True)
    with tb.Testbed(s,work,out) as t:
        t.start_network(); progress("network")
        try:
            t.start_controller(); progress("controller synced")
            print(t.control.status())
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from delivery.keys import generate_key
            try: generate_key(t.key)
            except Exception as e: print(repr(e))
            from cryptography.hazmat.primitives import serialization as z
            k=z.load_pem_private_key(t.key.read_bytes(),None)
            t.public_key.write_bytes(k.public_key().public_bytes(z.Encoding.PEM,z.PublicFormat.SubjectPublicKeyInfo))
            for e in t.active_edges:
                t.net.hold_service_address(e); t.start_edge(e)
            progress("edges started"); time.sleep(5); print("CAP",t._captures.process_id, t.controller.pid, {e:p.pid for e,p in t.edges.items()}); print(t.net["user1"].cmd("top -b -n 1 -d 1 -w 150| head -20; sleep 3; cat /proc/47/syscall /proc/47/wchan /proc/47/stack; strace -f -p 47 -o /run/st & sleep 1; kill $!; sleep 0.3; head -c 1500 /run/st; top -b -n 1 -w 150| head -15")); print(open(t.raw/"controller.jsonl").read()[-1500:])
            t.wait_ready(); progress("ready")
            import experiments.inside as i
            i._measure_round_trips(t, out/"rtt.csv"); progress("rtt")
            print((out/"rtt.csv").read_text()[:600])
            print(t.net["user1"].cmd("curl -s -v -g 'http://[2001:db8:ffff::1]/' 2>&1"))
            progress("curl")
        except BaseException:
            print(t.net["user1"].cmd("ip a; ip -6 r; ip -6 n; ip -6 maddr"))
            print(t.net["edge1"].cmd("ip a; ip -6 r; ip -6 n; ip -6 maddr"))
            for s in ("access1",): print(t.openvswitch.command("ovs-ofctl","-O","OpenFlow14","dump-flows",s)); print(t.openvswitch.command("ovs-ofctl","-O","OpenFlow14","dump-groups",s))
            print(open(t.raw/"controller.jsonl").read()[-3000:])
            for l in out.joinpath("logs").iterdir(): print(l, l.read_text()[-1500:])
            raise
