"""Results on held-out images after each epoch of a training."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch

from benchmark.contract import Learner
from benchmark.metrics import METRICS, ImageMetrics, PixelMetrics, map_limits
from benchmark.running.class_run import whole_class_scores
from benchmark.running.maps import at_evaluation_size
from benchmark.training import Auxiliary

BATCH = 8


def after_epoch(features: Auxiliary, title: str, say: Callable[[str], None]) -> Callable[[str, Learner], None]:
    """Return what tells the results of a method on some images.

    Args:
        features: Of the images, for the method.
        title: Of the dataset.
        say: Called with a line for each epoch: the mean of each metric over the classes, in percent.
    """

    def tell(epoch: str, method: Learner) -> None:
        values = results(method, features)
        known = {key: value for key, value in values.items() if value is not None}
        numbers = (f"{METRICS[key].full_heading} {100 * value:.1f}" for key, value in known.items())
        say(f"{method.title}, {epoch}, on {title}: {', '.join(numbers)}")

    return tell


def results(method: Learner, features: Auxiliary) -> dict[str, float | None]:
    """Return the unweighted mean over classes of each metric of the main tables; None where it is undefined for one.

    There are image and pixel metrics alone.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, sample in enumerate(features.samples):
        places[sample.class_name].append(place)
    classes = [_class_results(method, features, indices) for indices in places.values()]
    means: dict[str, float | None] = {}
    for key in (metric.key for metric in METRICS.values() if metric.main and metric.key in classes[0]):
        known = [value for each in classes if (value := each[key]) is not None]
        means[key] = sum(known) / len(known) if len(known) == len(classes) else None
    return means


@torch.no_grad()
def _class_results(method: Learner, features: Auxiliary, places: Sequence[int]) -> dict[str, float | None]:
    scores: list[float] = []
    labels: list[int] = []
    lowest: list[float] = []
    highest: list[float] = []
    pixel = PixelMetrics()
    for start in range(0, len(places), BATCH):
        batch = features.batch(places[start : start + BATCH])
        prediction = method.predict(batch.features, batch.class_names)
        found, maps = at_evaluation_size(prediction, image_size=features.spec.image_size, smoothing=method.smoothing)
        scores += found
        labels += batch.labels.tolist()
        for anomaly_map, mask in zip(maps, batch.masks.bool().cpu().numpy(), strict=True):
            low, high = map_limits(anomaly_map)
            lowest.append(low)
            highest.append(high)
            pixel.update(anomaly_map, mask)
    if method.scores_whole_class(method.options):
        scores = whole_class_scores(method, scores, lowest, highest, batch.class_names[0])
    image = ImageMetrics()
    for score, label in zip(scores, labels, strict=True):
        image.update(score, label)
    return {**image.compute(), **pixel.compute()}
