"""What stages leave on disk, read and written block by block, with the identity of its rows."""
