"""The `ics` command: start the local AWS, classify, look at results and alerts; the same on AWS with `--env NAME`."""
