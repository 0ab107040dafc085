"""Which datasets a run needs, so that those that are missing can be fetched before it."""

from collections.abc import Sequence

from benchmark.data import Card, load_cards
from benchmark.protocol import auxiliaries_for
from benchmark.registry import choose


def wanted_by_run(
    names: Sequence[str], *, every: bool, learns: bool, rule: str, auxiliary: Sequence[str]
) -> list[Card]:
    """Return the cards of the datasets that a run needs, in the order of their names.

    Args:
        names: Of the datasets that are tested.
        every: Whether all are tested that take part without being named.
        learns: Whether one of the methods learns.
        rule: Of the protocol, by which methods learn.
        auxiliary: Datasets that they learn from instead; empty for those of the rule.

    Raises:
        BenchError: A name is that of no dataset.
    """
    cards = load_cards()
    tested = [name for name, card in cards.items() if not card.beyond] if every else choose("dataset", names, cards)
    learned = list(auxiliary) if auxiliary else [each for name in tested for each in auxiliaries_for(name, rule)]
    wanted = {*tested, *(choose("dataset", learned, cards) if learns else ())}
    return [card for name, card in cards.items() if name in wanted]
