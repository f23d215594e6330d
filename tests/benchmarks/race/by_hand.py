"""A training loop by hand, in PyTorch alone."""

import torch
from torch.nn import functional as F

from tests.benchmarks.race.shared import DEVICE, IGNORE, RATE, Folder, Normalised, batches, count, mean_iou


def train(folder: Folder) -> list[float]:
    """Train, validate after each epoch, and return the mean IoU of each validation."""
    size, (train_loader, val_loader) = folder.size, folder.loaders()
    network = Normalised(folder.network()).to(DEVICE)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.0)
    bf16 = torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=DEVICE.type == "cuda")
    scores = []
    for _ in range(size.epochs):
        network.train()
        for image, mask in batches(train_loader):
            with bf16:
                loss = F.cross_entropy(network(image), mask, ignore_index=IGNORE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        confusion = torch.zeros(size.classes, size.classes, dtype=torch.int64, device=DEVICE)
        total = torch.zeros((), device=DEVICE)
        with torch.no_grad(), bf16:
            for image, mask in batches(val_loader):
                logits = network(image)
                total += F.cross_entropy(logits, mask, ignore_index=IGNORE) * len(image)
                confusion += count(logits.argmax(1), mask, size.classes)
        scores.append(mean_iou(confusion))
    return scores
