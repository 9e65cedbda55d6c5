"""Attacks that an earlier version did not bear, each made again from scratch: `python -m tests.attacks` tries them all.

A row is a function of a folder to work in. It ends well where the attack was held, and returns what was said; it fails
where something was taken, followed, lost or changed without a word. `process` runs it in a process of its own and holds
time, memory and tracebacks against it.
"""
