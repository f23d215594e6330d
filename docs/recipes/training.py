"""One training in Python, without a study: Lightning's trainer with seglab's classes."""

import lightning as L

from seglab import AdamW, CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, network

L.seed_everything(0)
data = SegmentationDataModule(Shapes(num_train=16, num_val=4, num_test=4), batch_size=8)
module = SegmentationModule(
    network("FPN", "resnet18", num_classes=data.num_classes), CrossEntropy(), num_classes=data.num_classes, optimizer=AdamW(lr=1e-3)
)
trainer = L.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, use_distributed_sampler=False)
trainer.fit(module, datamodule=data)
trainer.test(module, datamodule=data)
trainer.save_checkpoint("trained.ckpt")
