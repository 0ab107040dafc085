"""From a directory to samples: cards, layouts, samples, images, loading, checks."""
