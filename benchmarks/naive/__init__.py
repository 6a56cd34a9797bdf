"""The usual design, as public repositories have it: an inline Map over images, three Lambdas an image, base64 in state.

Plain, but not slow on purpose: clients are made once an environment, functions are warm, and the log gets one line.
"""
