"""`python -m origin`: publish a site to the edges, push it, answer DNS, make keys and certificates."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 1 failed, 2 usage)."""
    from origin.arguments import make_parser

    parser = make_parser(__doc__)
    try:
        arguments = parser.parse_args(argv)
        if arguments.command == "publish" and not (arguments.edges or arguments.expect or arguments.stay):
            parser.error("publish: name the edges to wait for (--edges or --expect), or --stay")
        if arguments.command in ("publish", "watch") and arguments.encrypt != (arguments.members is not None):
            parser.error(f"{arguments.command}: --encrypt and --members go together")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 2
    from delivery.errors import DeliveryError
    from delivery.keys import KeyFileError
    from origin import commands

    try:
        run = {
            "publish": commands.publish,
            "watch": commands.watch,
            "push": commands.push,
            "status": commands.status,
            "dns": commands.dns,
            "keygen": commands.keygen,
            "rotate-key": commands.rotate_key,
            "certify": commands.certify,
        }[arguments.command]
        return run(arguments)
    except (DeliveryError, KeyFileError) as error:
        print(f"origin: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1


if __name__ == "__main__":
    sys.exit(main())
