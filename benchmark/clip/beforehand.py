"""What is known of weights before they are downloaded."""

from pathlib import Path

from benchmark.clip.architectures import OWN, BackboneError
from benchmark.clip.weight_folders import hub_folder
from benchmark.clip.weights import KNOWN_FILES, WeightsSource, cache_directory, kept_file, pretraining, weights_sha256


def sha256_beforehand(source: WeightsSource) -> str | None:
    """Return what `weights_sha256` returns, without a download of weights.

    Returns:
        None where the files are not on this machine and their sha256 is not published.

    Raises:
        BackboneError: A file that the user named does not exist, a file that is there is wrong, or the weights do not
            suit the architecture.
    """
    known = KNOWN_FILES.get(source.name)
    if known is not None and kept_file(known) is None:
        return known.sha256
    if known is None and not _is_there(source):
        pretraining(source)  # a tag that does not exist is told now
        return None
    return weights_sha256(source)


def _is_there(source: WeightsSource) -> bool:
    """Say whether nothing would have to be downloaded."""
    if source.hub is not None:
        try:
            hub_folder(source.hub, weights=True, download=False)
        except BackboneError:
            return False
    if source.tag is None or source.architecture in OWN:
        return True
    import open_clip
    from huggingface_hub.file_download import repo_folder_name

    config = open_clip.get_pretrained_cfg(source.architecture, source.tag)
    repository = str(config.get("hf_hub") or "").rpartition("/")[0]
    if not repository:
        return (cache_directory() / Path(config.get("url") or "").name).is_file()
    snapshots = cache_directory() / repo_folder_name(repo_id=repository, repo_type="model") / "snapshots"
    return any(file.suffix in (".safetensors", ".bin", ".pt", ".pth") for file in snapshots.glob("*/*"))
