"""What every room uses: whole-file writes, limits on what is read, CSV text, progress, memory, settings, the cache."""
