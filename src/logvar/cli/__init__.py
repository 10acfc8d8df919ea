"""The command line: `main` declares the commands; a file for each family does what they say."""
