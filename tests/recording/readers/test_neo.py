"""Objects of neo: spikes as numpy counts them, signals in their unit, segments one by one."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.recording import from_neo

neo = pytest.importorskip("neo")
pq = pytest.importorskip("quantities")


def segment(seed=0, *, start=0.0):
    rng = np.random.default_rng(seed)
    made = neo.Segment()
    for number in range(3):
        times = np.sort(rng.uniform(0, 2000, 40)) + 1000 * start
        made.spiketrains.append(
            neo.SpikeTrain(
                times * pq.ms,
                t_start=start * pq.s,
                t_stop=(start + 2) * pq.s,
                name=f"cell{number}",
                region="CA1" if number else "ADN",
                depth=number * 10,
            )
        )
    signal = neo.AnalogSignal(
        rng.normal(size=(50, 2)),
        units="uV",
        sampling_rate=25 * pq.Hz,
        t_start=start * pq.s,
        array_annotations={"channel_names": np.array(["left", "right"])},
    )
    made.analogsignals.append(signal)
    return made


def test_spikes_are_counted_in_seconds():
    made = segment()
    rec = from_neo(made, what="spikes", bin=0.1)
    for number, train in enumerate(made.spiketrains):
        counts, _ = np.histogram(train.rescale("s").magnitude, bins=np.arange(21) / 10)
        np.testing.assert_array_equal(rec.values[:, number], counts)
    assert rec["unit"].values.tolist() == ["cell0", "cell1", "cell2"]
    assert rec["region"].values.tolist() == ["ADN", "CA1", "CA1"]
    assert rec["depth"].values.tolist() == [0, 10, 20]
    one = from_neo(made.spiketrains[1], bin=0.1)
    np.testing.assert_array_equal(one.values[:, 0], rec.values[:, 1])


def test_signals_keep_their_values_unit_and_times():
    made = segment(start=3.0)
    rec = from_neo(made, what="signals")
    np.testing.assert_array_equal(rec.values, made.analogsignals[0].magnitude)
    assert rec["unit"].values.tolist() == ["left", "right"]
    assert rec["measured_in"].values.tolist() == ["uV", "uV"]
    np.testing.assert_allclose(rec["time"].values, 3 + np.arange(50) / 25)


def test_segments_of_a_block_follow_one_another():
    block = neo.Block()
    block.segments += [segment(0), segment(1)]
    for options in ({"what": "signals"}, {"what": "spikes", "bin": 0.5}):
        rec = from_neo(block, **options)
        parts = [from_neo(s, **options) for s in block.segments]
        np.testing.assert_array_equal(rec.values, np.concatenate([p.values for p in parts]))
        assert np.unique(rec["segment"].values).tolist() == [0, 1]
        listed = from_neo(block.segments, **options)
        np.testing.assert_array_equal(listed.values, rec.values)


def test_what_cannot_be_is_said():
    made = segment()
    other = neo.AnalogSignal(np.ones((7, 1)), units="V", sampling_rate=1 * pq.Hz)
    for call, said in (
        (lambda: from_neo(made), "spikes and signals"),
        (lambda: from_neo(made, what="spikes"), "bin="),
        (lambda: from_neo(made.analogsignals[0], what="spikes", bin=1.0), "no spikes"),
        (lambda: from_neo([*made.analogsignals, other]), "several times"),
        (lambda: from_neo(neo.Segment()), "no spike trains"),
        (lambda: from_neo("session.plx"), "no object of neo"),
        (lambda: from_neo([]), "no object of neo"),
        (lambda: from_neo(made, what="events"), "events"),
    ):
        with pytest.raises(NisslError, match=said):
            call()
