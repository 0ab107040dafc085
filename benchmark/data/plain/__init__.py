"""Understanding a plain folder by the names of its files and folders."""
