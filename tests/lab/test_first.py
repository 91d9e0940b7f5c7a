def test_packets(packets_lab): print(packets_lab.facts())
def test_native(native_lab): print(native_lab.facts())
def test_cut(cut_lab): pass
def test_killed(killed_lab): pass
