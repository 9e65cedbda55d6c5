"""Stores on disk, read and written block by block, with the identity of their rows."""
