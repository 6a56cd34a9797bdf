"""What ICS costs, measured against the usual design, a plain loop and plain Pillow: `make bench`."""
