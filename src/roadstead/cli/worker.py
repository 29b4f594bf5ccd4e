"""Runs one worker process of a mirror; started by ``roadstead serve`` and by nobody else."""

import gc
import sys


def main() -> None:
    """Serve as the process that started this one says; exit status 1 if that cannot be done."""
    gc.disable()
    from roadstead.runtime.workers.worker import run  # noqa: PLC0415 - behind gc.disable

    try:
        run()
    except EOFError:
        sys.exit(1)
    except OSError as error:
        sys.stderr.write(f"a worker cannot start: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
