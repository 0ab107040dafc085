"""The methods, one file each. Every `Method` class in a module of this package is registered by its name."""
