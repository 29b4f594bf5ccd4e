"""``python -m roadstead`` is the ``roadstead`` command."""

from roadstead.cli.entry import main

if __name__ == "__main__":
    main()
