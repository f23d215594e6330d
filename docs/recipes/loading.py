"""A trained network on an image: the class of each pixel."""

import seglab

net = seglab.load("trained.ckpt")  # or the folder of a run, such as runs/regularization/none/seed-0
image = seglab.Shapes().split("test")[0].image  # (C,H,W) uint8; torchvision.io.decode_image reads a file
classes = net.predict(image[None])[0]  # (H,W); an array (H,W,C) gives an array
for label in classes.unique().tolist():
    print(f"{net.class_names[label]}: {(classes == label).float().mean():.1%} of the pixels")
