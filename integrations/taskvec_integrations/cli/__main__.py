"""`python -m taskvec_integrations.cli` is `taskvec`."""

from taskvec_integrations.cli.app import main

main()
