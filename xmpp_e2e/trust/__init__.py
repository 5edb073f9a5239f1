"""Do we remember them? The judge of keys, the table of policies (both pure), and what a store must offer."""
