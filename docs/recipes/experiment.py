"""Does an L2 penalty help?"""

from seglab import L2, CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, Study, main, unet

SHAPES = SegmentationDataModule(Shapes())


def study(data: SegmentationDataModule = SHAPES, encoder: str = "resnet18", epochs: int = 30, seeds: int = 10) -> Study:
    count = data.num_classes

    def arm(penalty):
        return lambda: SegmentationModule(unet(encoder, count), CrossEntropy(), num_classes=count, regularizer=penalty)

    arms = {"none": arm(None), "1e-4": arm(L2(1e-4)), "1e-3": arm(L2(1e-3))}
    return Study("l2", data=data, epochs=epochs, seeds=range(seeds), baseline="none", arms=arms)


if __name__ == "__main__":
    main(study)
