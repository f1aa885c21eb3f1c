"""What is said to be observed was, and what was not is a gap, whatever happens in whatever order."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from escapement.core.observation import Observation
from escapement.model import Coverage, Gap, GapCause

CONTRACT = "CON.F.US.MES.M25"
TOLERANCE_NS = 100
BEGIN_NS = 1_000_000_000
LASTING = [GapCause.DISCONNECT, GapCause.FREEZE]


class Watched(RuleBasedStateMachine):
    """An observation beside a plain list of when trades were really seen, on a clock that only goes forward."""

    def __init__(self) -> None:
        super().__init__()
        self.observation = Observation(CONTRACT, TOLERANCE_NS)
        self.now_ns = BEGIN_NS
        self.seen_from: int | None = None
        self.blind: list[tuple[int, int]] = []  # when trades could be missed, or were
        self.unheard: list[tuple[int, int]] = []  # the same without what was found only afterwards
        self.unheard_from = BEGIN_NS
        self.covered: list[Coverage] = []
        self.kept: dict[tuple[int, GapCause], Gap] = {}
        self.closed: list[tuple[int, int]] = []
        self.blind_from: int | None = BEGIN_NS

    gaps = Bundle("gaps")

    @initialize()
    def begin(self) -> None:
        self.observation.lose(GapCause.START, "", BEGIN_NS)

    @rule(passed=st.integers(1, 5_000_000))
    def pass_time(self, passed: int) -> None:
        self.now_ns += passed

    @rule()
    def hear(self) -> None:
        if self.seen_from is not None:
            self.observation.hear(self.now_ns)

    @rule()
    def see(self) -> None:
        if self.seen_from is None and self.blind_from is not None:
            self.observation.see(self.now_ns)
            self.blind.append((self.blind_from, self.now_ns))
            self.unheard.append((self.unheard_from, self.now_ns))
            self.seen_from, self.blind_from = self.now_ns, None

    @rule(cause=st.sampled_from(LASTING), back=st.integers(0, 5_000_000))
    def lose(self, cause: GapCause, back: int) -> None:
        """Lose the connection, or find that it was frozen for a while; nothing was told that did not come."""
        proven_ns = self.observation.proven_ns
        if self.seen_from is None or proven_ns is None:
            return
        since_ns = max(BEGIN_NS, self.now_ns - back)
        self.observation.lose(cause, "", since_ns)
        self.seen_from, self.blind_from = None, min(since_ns, proven_ns)
        self.unheard_from = proven_ns

    @rule(cause=st.sampled_from(LASTING), back=st.integers(0, 5_000_000))
    def lose_still_earlier(self, cause: GapCause, back: int) -> None:
        """Find while blind that trades were missed before that already."""
        if self.blind_from is not None:
            since_ns = max(BEGIN_NS, self.blind_from - back)
            self.observation.lose(cause, "", since_ns)
            self.blind_from = since_ns

    @rule(back=st.integers(0, 5_000_000), length=st.integers(1, 1_000))
    def miss(self, back: int, length: int) -> None:
        from_ns = max(BEGIN_NS, self.now_ns - back)
        self.observation.miss(from_ns, from_ns + length, GapCause.LATE, "")

    @rule()
    def store(self) -> None:
        covered, gaps = self.observation.take_news()
        self.covered += covered
        self.kept |= {(gap.begins_ns, gap.cause): gap for gap in gaps}

    @rule()
    def crash(self) -> None:
        """Start again from what is stored, as ingestion does."""
        seen_ns = self.observation.seen_until_ns
        self.store()
        assert seen_ns is not None
        self.observation = Observation(CONTRACT, TOLERANCE_NS)
        self.observation.resume(self.kept.values())
        self.observation.lose(GapCause.CRASH, "", seen_ns)
        if self.seen_from is not None:
            self.seen_from, self.blind_from = None, seen_ns
            self.unheard_from = seen_ns

    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        ended = [gap for gap in self.observation.gaps if gap.ends_ns is not None]
        if ended:
            self.store()
            chosen = data.draw(st.lists(st.sampled_from(ended), unique=True))
            self.observation.close(chosen)
            for gap in chosen:
                del self.kept[gap.begins_ns, gap.cause]
                self.closed.append((gap.begins_ns, gap.ends_ns or 0))

    @invariant()
    def every_moment_is_observed_or_in_a_gap(self) -> None:
        """From the beginning to what is proven there is no moment of which nothing is said."""
        proven_ns = self.observation.seen_until_ns
        if proven_ns is None:
            return
        stretches = [(gap.begins_ns, gap.ends_ns or proven_ns) for gap in self.observation.gaps]
        grown = deepcopy(self.observation).take_news()[0]
        stretches += [(each.begins_ns, each.ends_ns) for each in [*self.covered, *grown]]
        stretches += self.closed
        since_ns = self.observation.seen_since_ns
        if since_ns is not None:
            stretches.append((since_ns, proven_ns))
        reached = BEGIN_NS
        for begin, end in sorted(stretches):
            assert begin <= reached or begin >= proven_ns, (reached, begin, stretches)
            reached = max(reached, end)
        assert reached >= proven_ns

    @invariant()
    def gaps_are_on_the_grid_of_the_database_and_told_apart(self) -> None:
        gaps = self.observation.gaps
        assert len({(gap.begins_ns, gap.cause) for gap in gaps}) == len(gaps)
        for gap in gaps:
            assert gap.begins_ns % 1_000 == 0
            assert gap.ends_ns is None or (gap.ends_ns % 1_000 == 0 and gap.ends_ns > gap.begins_ns)

    @invariant()
    def what_is_stored_is_what_is_known_and_lasts_only_while_blind(self) -> None:
        fresh = deepcopy(self.observation).take_news()[1]
        stored = self.kept | {(gap.begins_ns, gap.cause): gap for gap in fresh}
        assert stored == {(gap.begins_ns, gap.cause): gap for gap in self.observation.gaps}
        assert any(gap.ends_ns is None for gap in stored.values()) == self.observation.is_blind

    @invariant()
    def nothing_unseen_is_handed_out_as_covered(self) -> None:
        for each in [*self.covered, *deepcopy(self.observation).take_news()[0]]:
            assert not any(begin < each.ends_ns and end > each.begins_ns for begin, end in self.unheard)

    @invariant()
    def what_was_blind_is_never_said_to_be_observed_without_a_gap(self) -> None:
        for begin, end in self.blind:
            repaired = any(begin >= closed[0] and end <= closed[1] for closed in self.closed)
            assert repaired or not self.observation.is_observed(begin, max(end, begin + 1)), (begin, end)
        if self.blind_from is not None:
            assert self.observation.is_blind
            assert not self.observation.is_observed(self.blind_from, self.blind_from + 1)


TestWatched = Watched.TestCase


@given(st.integers(0, 10_000), st.integers(1, 10_000), st.integers(0, 10_000), st.integers(1, 10_000))
def test_a_stretch_is_observed_exactly_when_no_gap_overlaps_it(begin: int, length: int, at: int, wide: int) -> None:
    observation = Observation(CONTRACT, TOLERANCE_NS)
    observation.lose(GapCause.START, "", 0)
    observation.see(1)
    observation.close(observation.gaps)
    assert observation.miss(begin * 1_000, (begin + length) * 1_000, GapCause.REFUSED, "")
    assert not observation.miss(begin * 1_000, (begin + length) * 1_000, GapCause.REFUSED, "")
    from_ns, to_ns = at * 1_000, (at + wide) * 1_000
    overlap = begin < at + wide and begin + length > at
    assert observation.is_observed(from_ns, to_ns) == (not overlap)
    assert observation.is_observed(from_ns, to_ns, besides=observation.gaps)


def test_every_gap_that_two_crashes_left_without_an_end_ends_when_trades_are_seen() -> None:
    second = 10**9
    left = [
        Gap(CONTRACT, 50 * second, None, GapCause.CRASH),
        Gap(CONTRACT, 60 * second, 70 * second, GapCause.LATE),
        Gap(CONTRACT, 100 * second, None, GapCause.DISCONNECT),
    ]
    for gaps in (left, left[::-1]):
        observation = Observation(CONTRACT, TOLERANCE_NS)
        observation.resume(gaps)
        observation.lose(GapCause.CRASH, "", 50 * second)
        assert observation.blind_since_ns == 50 * second
        observation.see(90 * second)
        ends = [gap.ends_ns for gap in observation.gaps]
        assert ends == [100 * second + 1_000, 70 * second, 100 * second + 1_000]
        assert {gap.begins_ns for gap in observation.take_news()[1]} == {50 * second, 100 * second}
