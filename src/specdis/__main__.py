"""`python -m specdis` is the command."""

from specdis.cli import main

if __name__ == "__main__":
    main()
