"""Hybrid semantic fusion of AdaCLIP (Cao et al., ECCV 2024, section 3.4): clusters of patches as one embedding."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmark.contract import BenchError

PATCHES_PER_CLUSTER = 5
"""As many patches for each cluster are clustered, those of the highest scores."""


def fused_patches(patches: Tensor, differences: Tensor, *, clusters: int, seed: int, paper: bool) -> Tensor:
    """Return the embedding f of the semantic clusters of each image. Gradients flow through means, not through labels.

    By the code: the `5 · clusters` patches of the highest scores are clustered by their embeddings of all layers, one
    after the other, and f is the mean of the clusters' centres. By the paper: all patches are clustered, by the means
    of their embeddings over the layers, and f is the centre of the cluster with the highest mean score. A centre is the
    mean over the members and the layers. Clusters without members, where points are equal, are left out.

    Args:
        patches: Unit patch embeddings of shape `(B, L, N, D)`.
        differences: Logit of the abnormal text minus that of the normal one, the mean over the layers, of shape
            `(B, N)`.
        clusters: Number K of clusters.
        seed: Seed of K-means (k-means++, one start), the same for each image.
        paper: Whether it is done by the paper.

    Returns:
        Unit embeddings of shape `(B, D)`.
    """
    weights = _weights(patches.detach(), differences.detach(), clusters=clusters, seed=seed, paper=paper)
    return F.normalize((weights[:, None] @ patches.mean(dim=1))[:, 0], dim=-1)


def _weights(patches: Tensor, differences: Tensor, *, clusters: int, seed: int, paper: bool) -> Tensor:
    """Return the weights of shape `(B, N)` of the patches in f, before it is scaled to unit length."""
    if torch.compiler.is_compiling():
        raise BenchError(
            "its image score clusters patches by K-means of scikit-learn, which is no operation of torch; train it "
            "with --set adaclip.image_score=cls, and export that"
        )
    from sklearn.cluster import KMeans  # a slow import

    if paper:
        chosen = torch.arange(differences.shape[1], device=differences.device).expand_as(differences)
        points = patches.mean(dim=1)
    else:  # the order of the scores is that of the probabilities, without the ties of those that are rounded to 1
        chosen = differences.topk(min(differences.shape[1], PATCHES_PER_CLUSTER * clusters), dim=1).indices
        selected = patches.gather(2, chosen[:, None, :, None].expand(-1, patches.shape[1], -1, patches.shape[-1]))
        points = selected.transpose(1, 2).flatten(2)
    scores, chosen = torch.sigmoid(differences.gather(1, chosen)).cpu(), chosen.cpu()
    weights = scores.new_zeros(differences.shape)
    k_means = KMeans(min(clusters, points.shape[1]), n_init=1, random_state=seed)
    for image, of_image in enumerate(points.float().cpu().numpy()):
        labels = torch.from_numpy(k_means.fit_predict(of_image)).long()
        members = F.one_hot(labels).to(scores)
        members = members[:, members.any(dim=0)]
        centres = members / members.sum(dim=0)
        in_mean = centres[:, (scores[image] @ centres).argmax()] if paper else centres.mean(dim=1)
        weights[image, chosen[image]] = in_mean
    return weights.to(patches)
