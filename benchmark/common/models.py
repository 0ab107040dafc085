"""Validated data: the base of everything that is read from a file, and what is said when a file is wrong."""

from pydantic import BaseModel, ConfigDict, ValidationError


class Model(BaseModel):
    """A pydantic model whose objects cannot be changed and which accepts no unknown field."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def validation_problems(error: ValidationError, *, of: str = "") -> list[str]:
    """Return a line `field.subfield: message` for each thing that is wrong.

    Args:
        error: what pydantic raised.
        of: name of what was validated; it stands before the field, as in `of.field.subfield`.
    """
    lines = []
    for problem in error.errors(include_url=False):
        place = ".".join(map(str, ([of] if of else []) + list(problem["loc"])))
        lines.append(f"{place}: {problem['msg']}" if place else problem["msg"])
    return lines
