"""A soak of seconds: its calls keep their promises, and it notices what grows."""

from __future__ import annotations

import attrs

from tests.soak.__main__ import growth, soak, verdicts
from tests.soak.calls import Tally
from tests.soak.footprint import Sample
from tests.soak.provider import running_provider


def samples_of(megabytes: list[float]) -> list[Sample]:
    return [Sample(float(at), each, 30, 2, 0) for at, each in enumerate(megabytes)]


async def test_calls_keep_their_promises_while_the_provider_goes_wrong() -> None:
    tally = Tally()

    with running_provider(0.6) as urls:
        # Long enough for each call to outlast an outage, however busy the machine is.
        samples = await soak(urls, sessions=4, seconds=6.0, call_s=8.0, tally=tally)

    assert tally.broken == []
    assert tally.counts["calls"] >= 3
    assert sum(tally.reasons.values()) > 0
    assert tally.counts["sent"] + tally.counts["dropped"] + tally.counts["in_doubt"] == tally.counts["frames"]
    assert len(samples) == 6


def test_what_grows_without_end_is_noticed() -> None:
    flat = samples_of([60.0] * 10 + [80.0] * 50)
    leaking = samples_of([60.0 + at for at in range(60)])

    assert verdicts(flat, Tally()) == []
    assert growth(leaking)["resident_mb"] > 30
    assert len(verdicts(leaking, Tally())) == 1


def test_more_descriptors_are_noticed_as_well_as_a_call_that_broke_its_promise() -> None:
    samples = [
        attrs.evolve(each, descriptors=30 + number) for number, each in enumerate(samples_of([60.0] * 60))
    ]

    wrong = verdicts(samples, Tally(broken=["caller-1-1: 3 frames have no end"]))

    assert len(wrong) == 2
