"""Reading documents from files and standard input in bounded memory: which files a source means, and their formats."""
