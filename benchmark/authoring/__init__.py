"""For authors of methods: the contract check and what `bench new-method` writes."""
