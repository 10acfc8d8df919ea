from logvar.cli import main

main()
