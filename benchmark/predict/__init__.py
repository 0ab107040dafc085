"""Images of your own, scored and drawn."""
