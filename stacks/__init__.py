"""Infrastructure as code: a stack composes, a construct builds, one capability a file."""
