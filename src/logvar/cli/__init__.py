"""The command line: `main` declares the commands; one file per family implements them."""
