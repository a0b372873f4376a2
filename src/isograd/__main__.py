"""``python -m isograd`` is the ``isograd`` command."""

from isograd.cli import main

if __name__ == "__main__":
    main()
