import time
from pathlib import Path
def run(out, work, **kw):
    from lab.inside import progress
    from lab.openvswitch import OpenVSwitch
    from topologies.mininet_net import LabNet
    from topologies.three_tier import three_tier
    progress("imported")
    topo=three_tier(2,4,8)
    time.sleep(15)
    ovs=OpenVSwitch(work/"ovs")
    net=LabNet(topo,ovs); progress("nodes")
    for n in ("_make_links","_shape_switch_ports","_configure_host","plug_in_hosts"):
        def w(f,n=n):
            def g(*a):
                progress("begin "+n); r=f(*a); progress("end "+n); return r
            return g
        setattr(net,n,w(getattr(net,n)))
    net.build(); progress("built"); net.plug_in_hosts(); time.sleep(3); progress("settled"); print(net["user1"].cmd("ip -s link; ip a")) 
