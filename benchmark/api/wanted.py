"""Which datasets a run needs, so that those that are missing can be fetched before it."""

from collections.abc import Sequence

from benchmark.api.requests import Learning
from benchmark.api.selection import check_auxiliary_names, check_training_used
from benchmark.contract import Learner
from benchmark.data import Card, load_cards
from benchmark.protocol import AUXILIARIES
from benchmark.registry import choose
from benchmark.running import Auxiliaries, Chosen


def wanted_by_run(
    names: Sequence[str], methods: Chosen, learning: Learning, *, every: bool, folders: Sequence[str] = ()
) -> list[Card]:
    """Return the cards of the datasets that a run needs, in the order of their names.

    What a checkpoint that is given was trained on is not needed.

    Args:
        names: Of the datasets that are tested.
        methods: The methods with their options.
        learning: What those that learn train on.
        every: Whether all are tested that take part without being named.
        folders: Names of plain folders that may be trained on.

    Raises:
        BenchError: A name is wrong, a checkpoint cannot be read, or something that was asked for has no effect.
    """
    cards = load_cards()
    tested = [name for name, card in cards.items() if not card.beyond] if every else choose("dataset", names, cards)
    choose("protocol", [learning.protocol], AUXILIARIES)
    check_auxiliary_names([name for name in learning.auxiliary if name not in folders], folders)
    check_training_used(methods, learning.protocol, learning.auxiliary)
    auxiliaries = Auxiliaries(
        rule=learning.protocol, override=tuple(learning.auxiliary), given=tuple(learning.checkpoints)
    )
    wanted = set(tested)
    for method in {method for method, _ in methods if issubclass(method, Learner)}:
        given = auxiliaries.given_for(method)
        for target in tested or ([""] if learning.auxiliary else []):  # plain folders train on what is told
            if (learned := auxiliaries.names_for(target, method)) not in given:
                wanted.update(learned)
    return [card for name, card in cards.items() if name in wanted]
