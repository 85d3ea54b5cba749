"""What all stores share: documents are read, compared with the collection, encoded and written. run.py has the order of steps."""
