"""A trained network on an image: the class of each pixel."""

import torch

import seglab

net = seglab.load("trained.ckpt")  # or the folder of a run, such as runs/regularization/none/seed-0
image = seglab.Shapes().split("test")[0].image  # (C,H,W) uint8; torchvision.io.decode_image reads a file
with torch.inference_mode():
    classes = net(image[None]).argmax(1)[0]  # logits (1,num_classes,H,W), classes (H,W)
for label in classes.unique().tolist():
    print(f"{net.class_names[label]}: {(classes == label).float().mean():.1%} of the pixels")
