import json, os
from pathlib import Path
from typing import Any
def facts(out: Path, work: Path) -> None:
    (out/'f.json').write_text(json.dumps({'u': os.urandom(16).hex(), 'cmd': Path('/proc/cmdline').read_text(), 'boot': Path('/proc/sys/kernel/random/boot_id').read_text()}))
