"""A vote: voices count by timeframe and analyzer, and less the older they are.

A voice's strength is weight of timeframe times weight of analyzer times 0.5 to the power of age over half-life
(exponential decay). Its sign is the direction said. The score of a direction is the sum of all strengths that say it
less the sum of those that say the opposite.

| score of the direction   | said at this moment by a voice that counts | wish          |
|--------------------------|--------------------------------------------|---------------|
| ``threshold`` or more    | yes                                        | the direction |
| ``threshold`` or more    | no                                         | none          |
| less                     | either                                     | none          |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from escapement.core.coordination.view import Told, Verdict, View
from escapement.core.coordination.voices import Scope, Voice
from escapement.core.coordination.words import direction_name, figure, span
from escapement.errors import InvalidInput
from escapement.model import Timeframe


@dataclass(frozen=True)
class Weighted:
    """Voices vote; those of a timeframe that is not in ``timeframe_weights`` do not.

    ``analyzer_weights``: by name; one that is not there counts 1. ``half_life_ns``: after how long a statement counts
    half, None for never. Confidence is the score over the sum of all strengths: 1 when nothing disagrees.

    Raises:
        InvalidInput: no weights, one that is not above 0, or a threshold or half-life that is not above 0.
    """

    timeframe_weights: Mapping[Timeframe, float]
    threshold: float
    analyzer_weights: Mapping[str, float] = field(default_factory=dict)
    half_life_ns: int | None = None

    name: ClassVar[str] = "weighted"

    def __post_init__(self) -> None:
        if not self.timeframe_weights:
            raise InvalidInput("timeframe_weights is empty; give a weight by timeframe, such as {1h: 2, 15m: 1}")
        for name, weight in [*self.timeframe_weights.items(), *self.analyzer_weights.items()]:
            if not (weight > 0 and math.isfinite(weight)):
                raise InvalidInput(f"weight {weight} of {name} is not above 0; leave out what shall not count")
        if not self.threshold > 0:
            raise InvalidInput(f"threshold {self.threshold} is not above 0; use more, or pass_through to follow all")
        if self.half_life_ns is not None and self.half_life_ns <= 0:
            raise InvalidInput(f"half_life {self.half_life_ns} ns is not above 0; leave it out for no decay")

    @cached_property
    def scope(self) -> Scope:
        """As the protocol says."""
        return Scope(tuple(self.timeframe_weights))

    def weight(self, timeframe: Timeframe, analyzer: str) -> float:
        """Return how much a statement of this moment counts."""
        return self.timeframe_weights.get(timeframe, 0.0) * self.analyzer_weights.get(analyzer, 1.0)

    def strength(self, voice: Voice, at_ns: int) -> float:
        """Return how much a voice counts at ``at_ns``."""
        weight = self.weight(voice.timeframe, voice.analyzer)
        if self.half_life_ns is None:
            return weight
        return weight * math.pow(0.5, (at_ns - voice.since_ns) / self.half_life_ns)

    def propose(self, view: View, direction: int) -> Verdict:
        """As the protocol says."""
        strengths = [(voice, self.strength(voice, view.at_ns)) for voice in view.heard(self.scope)]
        total = math.fsum(strength for _, strength in strengths)
        score = math.fsum(strength * voice.direction * direction for voice, strength in strengths)
        is_fresh = bool(view.fresh(self.scope, direction))

        def tell() -> Told:
            wish = direction_name(direction)
            votes = [
                {
                    "timeframe": str(voice.timeframe), "analyzer": voice.analyzer,
                    "direction": direction_name(voice.direction), "age": span(view.at_ns - voice.since_ns),
                    "strength": round(strength, 4),
                }
                for voice, strength in strengths
            ]  # fmt: skip
            values = {
                "direction": wish, "score": round(score, 4), "threshold": self.threshold, "strengths": votes,
                "half_life": None if self.half_life_ns is None else span(self.half_life_ns), "fresh": is_fresh,
            }  # fmt: skip
            counted = "; ".join(
                f"{vote['timeframe']} {vote['analyzer']} {vote['direction']} {figure(strength)} ({vote['age']} old)"
                for vote, (_, strength) in zip(votes, strengths, strict=True)
            )
            needed = f"{figure(self.threshold)} needed ({counted or 'no votes'})"
            missing = f", but no voice that counts says {wish} now" if score >= self.threshold and not is_fresh else ""
            return f"the score for {wish} is {figure(score)}, {needed}{missing}", values

        confidence = max(0.0, score / total) if total > 0 else 0.0
        because = tuple(voice for voice, _ in strengths if voice.direction == direction)
        stands = score >= self.threshold and is_fresh
        return Verdict(self.name, tell, stands=stands, confidence=confidence, because=because)
