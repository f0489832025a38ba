"""The command line: thin functions over the library, one module per command."""

from __future__ import annotations

import os
import sys

_WRONG_USAGE = 2


def main() -> None:
    """Run the command line; its own help and version come without importing what the commands need."""
    from posetools.cli.front import front_page
    from posetools.cli.renamed import with_new_names

    try:
        sys.argv[1:] = with_new_names(sys.argv[1:])
        page = front_page(sys.argv[1:])
        if page is None:
            from posetools.cli.app import run

            run()
        else:
            sys.stdout.write(page)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe (`| head`) closed it: no error to report.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    # Without a command the help is printed, but it is still wrong usage.
    sys.exit(_WRONG_USAGE if len(sys.argv) == 1 else 0)
