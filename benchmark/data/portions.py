"""Some classes of a dataset for a worker, which holds no other samples and knows of the whole what it needs."""

from collections.abc import Collection
from dataclasses import replace

from benchmark.data.samples import SampleSet

OF_THE_WHOLE = ("fingerprint", "has_views", "ranges", "synthetic", "test_classes", "warnings")
"""What of a dataset cannot be found from some of its samples, or takes long."""


def portion(data: SampleSet, classes: Collection[str]) -> SampleSet:
    """Return a dataset with the samples of some classes alone, which says the same of the whole as `data` does.

    `check_unchanged` checks the files of these classes.
    """
    samples = tuple(s for s in data.samples if s.class_name in classes)
    problems = tuple(problem for problem in data.problems if problem.fatal)
    part = replace(data, samples=samples, whole=(), problems=problems, normal_masks=(), left_out=())
    known = {name: getattr(data, name) for name in OF_THE_WHOLE}
    files = (path for s in part.test for path in (s.path, s.mask) if path is not None)
    vars(part).update(known, stamps={path: data.stamps[path] for path in files})  # as `cached_property` keeps them
    return part
