"""What all stores share. A document goes from `Store.ingest` to the database through these methods, one after another:

Store.ingest(documents)          store.py              makes an Ingestion from the store's settings
Ingestion.run(documents)         ingestion/run.py      checks each document: a CheckedDocument
Differ.compare(documents)        ingestion/diff.py     compares it with the collection: a DocumentDiff
DocumentEncoder.encode(diffs)    ingestion/encoding.py makes the vectors of its new chunks
Uploader.add(diff, vectors)      ingestion/upload.py   puts its chunks, each a Point, into batches
Backend.write(points)            ingestion/backend.py  writes a batch; each database has its own Backend
"""
