"""The servers that ICS's is compared with, each as its documentation advises for a small model on a CPU.

They run in environments of their own (`.venv-peers`), and import nothing of ICS.
"""
