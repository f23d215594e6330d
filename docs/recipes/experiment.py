"""Does an L2 penalty help?"""

from seglab import L2, CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, Study, main, unet


def study(
    data: SegmentationDataModule = SegmentationDataModule(Shapes()), encoder: str = "resnet18", epochs: int = 30, seeds: int = 10
) -> Study:
    def arm(regularizer):
        return lambda: SegmentationModule(
            unet(encoder, data.num_classes), CrossEntropy(), num_classes=data.num_classes, regularizer=regularizer
        )

    arms = {"none": arm(None), "1e-4": arm(L2(1e-4)), "1e-3": arm(L2(1e-3))}
    return Study("l2", data=data, epochs=epochs, seeds=range(seeds), baseline="none", arms=arms)


if __name__ == "__main__":
    main(study)
