"""The command line: thin functions over the library, one module per command."""

from __future__ import annotations

import os
import sys

_WRONG_USAGE = 2


def main() -> None:
    """Run the command line; what it prints of itself comes without loading what the commands need."""
    from posetools.cli.front import front_page

    try:
        page = front_page(sys.argv[1:], encoding=sys.stdout.encoding or "", terminal=sys.stdout.isatty())
        if page is None:
            from posetools.cli.app import run

            run()
        else:
            sys.stdout.write(page)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has gone: not an error of ours, and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    # No command at all is answered by the help, and is wrong usage all the same.
    sys.exit(_WRONG_USAGE if len(sys.argv) == 1 else 0)
