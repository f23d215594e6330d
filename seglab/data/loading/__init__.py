"""Loading: how samples become batches."""
