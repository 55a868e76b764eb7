"""Where images come from: stores that answer with whole batches, and the one data module that streams them."""
