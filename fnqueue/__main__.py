"""`python -m fnqueue` is the `fnqueue` command."""

from fnqueue.cli.main import main

if __name__ == "__main__":
    main()
