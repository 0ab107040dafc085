"""One file per method; every `Method` class found in a module of this folder is registered by its name."""
