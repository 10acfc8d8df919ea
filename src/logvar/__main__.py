from logvar.cli.main import main

main()
