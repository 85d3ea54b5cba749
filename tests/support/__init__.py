"""What the tests share: checkpoints made on the spot, servers, emulators, and texts whose right answers are known."""
