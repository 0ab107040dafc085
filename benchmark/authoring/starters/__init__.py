"""The methods from which `bench new-method` makes a new one. Each works as it is; only its names are replaced."""
