"""taskvec native in vector databases, frameworks, the command line and a server: one module or package for each."""

from taskvec_integrations.moved import register

register()
