"""Prediction: masks of new images by a trained network, and export of the network. `docs/prediction.md` describes both commands."""
