"""Prediction: masks of new images by a trained network, and export of the network.

`docs/howto/prediction.md` describes both commands.
"""
