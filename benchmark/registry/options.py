"""The options of methods: from what a user says to values, and from values to titles."""

import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from benchmark.common import validation_problems
from benchmark.contract import Learner, Method
from benchmark.registry.choosing import RegistryError, choose


def make_options(method: type[Method], values: Mapping[str, str]) -> Any:
    """Return the method's options with values as they are typed on the command line; the others keep their defaults.

    Raises:
        RegistryError: There is no such option, or a value has the wrong type or is out of range.
    """
    return checked_options(method, {key: literal(value) for key, value in values.items()})


def checked_options(method: type[Method], values: Mapping[str, Any]) -> Any:
    """Return the method's options with values that a user gives; the others keep their defaults.

    Raises:
        RegistryError: As in `make_options`.
    """
    check_option_names(method, values)
    options = options_from(method, values)
    for key, value in dataclasses.asdict(options).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise RegistryError(f"option {method.name}.{key}: must be a finite number, not {value}")
    if (shots := method.shots(options)) < 0:
        named = ", ".join(f"{method.name}.{key}" for key in values) or method.name
        raise RegistryError(f"{named}: the number of normal images shown must be 0 or more, not {shots}")
    if issubclass(method, Learner):
        for key, least in (("epochs", 0), ("batch_size", 1)):
            value = getattr(options, key, None)  # None where the method's stages say it
            if value is not None and value < least:
                raise RegistryError(f"option {method.name}.{key}: must be {least} or more, not {value}")
    return options


def option_fields(method: type[Method]) -> "tuple[dataclasses.Field[Any], ...]":
    """Return the fields of the method's options.

    Raises:
        RegistryError: the options are no dataclass.
    """
    if not dataclasses.is_dataclass(method.Options):
        raise RegistryError(f"{method.name}: Options is no dataclass; `bench check-method {method.name}` tells more")
    return dataclasses.fields(method.Options)


def check_option_names(method: type[Method], names: Iterable[str]) -> None:
    """Check that the method has options of these names.

    Raises:
        RegistryError: A name is unknown. The message suggests similar names.
    """
    choose(f"option of {method.name}", names, [field.name for field in option_fields(method)])


def options_from(method: type[Method], values: Mapping[str, Any]) -> Any:
    """Return the method's options with values as a record or a checkpoint holds them.

    Raises:
        RegistryError: The method has no such option, or a value has the wrong type.
    """
    try:
        return _options_reader(method).validate_python(dict(values))
    except (PydanticUserError, NameError) as error:  # an annotation that is no type, or is not known
        raise RegistryError(f"the types of the options of {method.name} cannot be read: {error}") from None
    except ValidationError as error:
        raise RegistryError(f"option {validation_problems(error, of=method.name)[0]}") from None


@functools.cache
def _options_reader(method: type[Method]) -> TypeAdapter[Any]:
    return TypeAdapter(method.Options)


def literal(text: str) -> Any:
    """Return the value of a text from the command line: JSON is decoded, anything else is the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # it is no JSON, has a number of thousands of digits, or is nested too deeply
        return text


def title_of(method: type[Method], options: Any) -> str:
    """Return a method's name in tables, with the options that are not at their defaults."""
    suffix = ", ".join(f"{key}={value}" for key, value in changed_options(options).items())
    return method.title + (f" ({suffix})" if suffix else "")


def changed_options(options: Any) -> dict[str, Any]:
    """Return the options that differ from their defaults."""
    given, default = dataclasses.asdict(options), dataclasses.asdict(type(options)())
    return {key: value for key, value in given.items() if value != default[key]}
