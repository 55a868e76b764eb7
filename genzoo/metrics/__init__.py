"""How good samples are, in numbers. Metrics are torchmetrics `Metric`s; a feature network looks once for all of them.

    net = ClassifierFeatures(network, "lenet")   # features.py: images in [-1, 1] -> features and logits
    metrics = MetricCollection({
        "fid": FID(net.dim), "kid": KID(), "inception_score": InceptionScore(),          # fidelity.py
        "class_kl": ClassHistogram(net.classes),                                         # fidelity.py
        "precision_recall": PrecisionRecall(), "density_coverage": DensityCoverage(),    # manifold.py
    })
    for images in real: metrics.update(**net(images), real=True)
    for images in fake: metrics.update(**net(images), real=False)
    metrics.compute()    # {"fid", "kid", "inception_score", "inception_score_std", "class_kl", "class_shares",
                         #  "classes_present", "confidence", "precision", "recall", "density", "coverage"}

A metric takes from the keywords what it needs. Values are float64 scalars, but `class_shares` (classes,). A value says
something only with the name of its feature network ("FID[lenet]"), the numbers of images, the seed and the split beside
it. Points of toy data need no network: `Modes(centres, sigma).update(points=points)` (modes.py).
measure.py has such passes ready made, from batches to numbers.

This file imports nothing: torchmetrics takes its time, so only who judges imports `genzoo.metrics.fidelity` and its
neighbours.
"""
