"""`python -m lanes` is the `lanes` command."""

from lanes.cli import main

if __name__ == "__main__":
    main()
