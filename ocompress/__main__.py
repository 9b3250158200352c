"""`python -m ocompress`."""

from ocompress.cli.app import main

if __name__ == "__main__":
    main()
