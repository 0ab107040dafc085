"""The methods that `bench new-method` starts an author with: each file works as it is, with its names replaced."""
