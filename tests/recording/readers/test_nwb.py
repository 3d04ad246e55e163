"""NWB files written here come back with their units, intervals and behaviour in place."""

import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording import bin_spikes
from nissl.recording.readers import read_file, read_nwb
from nissl.recording.readers._series import interpolate

pynwb = pytest.importorskip("pynwb")

TRIALS = {"start": [0.0, 4.0], "stop": [3.0, 8.5]}


def spikes():
    rng = np.random.default_rng(0)
    return [np.sort(rng.uniform(0, 10, n)) for n in (50, 0, 80)]


def direction(times):
    return (times * 3.0) % (2 * np.pi)  # goes round often


def write(path, *, units=True, series=("dff",)):
    file = pynwb.NWBFile("a test", "session-7", datetime(2020, 1, 1, tzinfo=UTC))
    file.subject = pynwb.file.Subject(subject_id="M1", species="Mus musculus", sex="F", age="P90D")
    if units:
        file.add_unit_column("location", "region of the brain")
        file.add_unit_column("quality", "of the sorting")
        for place, times in zip(("ADN", "ADN", "CA1"), spikes(), strict=True):
            file.add_unit(spike_times=times, location=place, quality=0.5)
    file.add_trial_column("condition", "what was shown")
    file.add_trial_column("quality", "of the trial, where units have a quality too")
    for start, stop, shown in zip(*TRIALS.values(), ("odour", "none"), strict=True):
        file.add_trial(start_time=start, stop_time=stop, condition=shown, quality=start)
    for i, name in enumerate(series):
        data = np.arange(40, dtype=np.int16).reshape(20, 2) + i
        file.add_acquisition(
            pynwb.TimeSeries(name=name, data=data, unit="V", rate=2.0, conversion=0.5, offset=1.0)
        )
    module = file.create_processing_module("behavior", "what it did")
    times = np.arange(0, 9, 0.01)
    compass = pynwb.behavior.CompassDirection(name="compass")
    compass.create_spatial_series(
        name="head", data=direction(times), unit="radians", timestamps=times, reference_frame="room"
    )
    position = pynwb.behavior.Position(name="position")
    position.create_spatial_series(
        name="place",
        data=np.stack([times, -times], axis=1),
        timestamps=times,
        reference_frame="room",
    )
    module.add(compass)
    module.add(position)
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return path


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return write(tmp_path_factory.mktemp("nwb") / "session.nwb")


def test_units_arrive_binned_with_their_table(session):
    rec = read_file(session, bin=0.25, intervals="trials")
    times = np.concatenate(spikes())
    ids = np.repeat([0, 1, 2], [len(t) for t in spikes()])
    by_hand = bin_spikes({"time": times, "unit": ids}, bin=0.25, intervals=TRIALS, units=[0, 1, 2])
    np.testing.assert_array_equal(rec.values, by_hand.values)
    assert rec["unit"].values.tolist() == ["units[0]", "units[1]", "units[2]"]
    assert rec["region"].values.tolist() == ["ADN", "ADN", "CA1"]
    assert rec["quality"].values.tolist() == [0.5] * 3
    assert rec["condition"].values.tolist() == ["odour"] * 12 + ["none"] * 18
    assert rec["trial"].values.tolist() == [0] * 12 + [1] * 18
    assert rec["interval_quality"].values.tolist() == [0.0] * 12 + [4.0] * 18
    assert rec.attrs["quantity"] == "spikes"
    assert (rec.attrs["subject"], rec.attrs["identifier"]) == ("M1", "session-7")


def test_without_intervals_all_spikes_are_binned_and_trials_label_them(session):
    rec = read_nwb(session)
    assert rec.values.sum() == sum(len(t) for t in spikes())
    time, trial = rec["time"].values, rec["trial"].values
    inside = [(time >= a) & (time < b) for a, b in zip(*TRIALS.values(), strict=True)]
    np.testing.assert_array_equal(trial, np.select(inside, [0, 1], -1))


def test_behaviour_is_interpolated_and_directions_on_the_circle(session):
    rec = read_nwb(session, start=0.0, stop=10.0)
    time = rec["time"].values
    tracked = time <= 8.99
    turn = rec["head"].values[tracked] - direction(time[tracked])
    assert np.abs(np.angle(np.exp(1j * turn))).max() < 1e-6
    np.testing.assert_allclose(rec["place_y"].values[tracked], -time[tracked])
    assert np.isnan(rec["head"].values[~tracked]).all()
    assert "head" not in read_nwb(session, behaviour=False).coords


def test_series_are_scaled_and_cut_to_intervals(session):
    rec = read_nwb(session, series="dff")
    np.testing.assert_allclose(rec.values, np.arange(40).reshape(20, 2) * 0.5 + 1)
    assert rec.dtype == np.float32
    assert rec["unit"].values.tolist() == ["dff[0]", "dff[1]"]
    np.testing.assert_array_equal(rec["time"].values, np.arange(20) / 2)
    assert rec.attrs["measured_in"] == "V"
    part = read_nwb(session, series="dff", start=1.0, stop=3.0)
    np.testing.assert_array_equal(part.values, rec.values[2:6])
    trials = read_nwb(session, series="dff", intervals="trials")
    assert trials["trial"].values.tolist() == [0] * 6 + [1] * 9
    np.testing.assert_array_equal(trials.values, rec.values[[*range(6), *range(8, 17)]])


def file_with(tmp_path, fill):
    """Write a file of one unit that fires each tenth of a second from 5 s to 10 s, and more."""
    file = pynwb.NWBFile("a test", "session-8", datetime(2020, 1, 1, tzinfo=UTC))
    fill(file, file.create_processing_module("behavior", "what it did"))
    if file.units is None:
        file.add_unit(spike_times=np.arange(50, 100) / 10)
    with pynwb.NWBHDF5IO(str(tmp_path / "s.nwb"), "w") as io:
        io.write(file)
    return tmp_path / "s.nwb"


def series_of(kind, data, unit="n/a", container=None, **more):
    def fill(file, module):
        made = kind(name="it", data=np.asarray(data), unit=unit, **more)
        holder = container(name="holder") if container else None
        if holder is None:
            module.add(made)
            return
        holder.add_spatial_series(made)
        module.add(holder)

    return fill


@pytest.mark.parametrize(
    ("unit", "values", "container", "period"),
    [
        ("rad/s", np.linspace(-20, 20, 101), pynwb.behavior.Position, None),
        ("rad", np.linspace(0, 40, 101), pynwb.behavior.Position, None),  # an unwrapped wheel
        ("rad", np.linspace(0.2, 1.1, 101), pynwb.behavior.Position, None),
        ("degrees", np.linspace(-15, 15, 101), pynwb.behavior.EyeTracking, None),
        ("degrees Celsius", np.linspace(0, 359, 101), pynwb.behavior.Position, None),
        ("rad", (np.arange(101) * 0.7) % (2 * np.pi), pynwb.behavior.Position, 2 * np.pi),
        ("rad", np.angle(np.exp(0.7j * np.arange(101))), pynwb.behavior.Position, 2 * np.pi),
        ("deg", (np.arange(101) * 40.1) % 360, pynwb.behavior.CompassDirection, 360.0),
        ("rad", np.linspace(0.2, 1.1, 101), pynwb.behavior.CompassDirection, 2 * np.pi),
    ],
)
def test_only_angles_on_one_circle_are_circular(tmp_path, unit, values, container, period):
    """A line is interpolated by numpy; directions as unit vectors half way between two samples."""
    kind, more = pynwb.behavior.SpatialSeries, {"rate": 10.0, "reference_frame": "room"}
    rec = read_nwb(file_with(tmp_path, series_of(kind, values, unit, container, **more)), bin=0.1)
    assert rec["it"].attrs.get("period") == period
    at = rec["time"].values
    if period is None:
        expected = np.interp(at, np.arange(101) / 10, values)
        np.testing.assert_allclose(rec["it"].values, expected)
    else:
        turn = np.exp(2j * np.pi * values / period)
        middle = turn[50:100] + turn[51:101]
        off = np.angle(np.exp(2j * np.pi * rec["it"].values / period) / middle)
        assert np.abs(off).max() < 1e-9


@pytest.mark.parametrize(
    ("kind", "container", "data", "times", "more", "expected"),
    [
        # Rewards: how many in each half second.
        ("TimeSeries", "BehavioralEvents", [5.0, 5.0, 1.0], [5.1, 5.2, 9.5], {}, [2, *[0] * 8, 1]),
        ("TimeSeries", None, [1.5, 2.5], [5.5, 7.0], {"continuity": "instantaneous"},
         [0, 1, 0, 0, 1, 0, 0, 0, 0, 0]),
        # On from 5.5 s to 7 s.
        ("IntervalSeries", "BehavioralEpochs", [1, -1], [5.5, 7.0], {}, [0, 1, 1, 1, *[0] * 6]),
        # States, written where they change; as floats; as said.
        ("TimeSeries", "BehavioralTimeSeries", [3, 7, 1], [0.0, 6.0, 9.0], {},
         [3, 3, 7, 7, 7, 7, 7, 7, 1, 1]),
        ("TimeSeries", None, [3.0, 7.0, 1.0], [0.0, 6.0, 9.0], {}, [3, 3, *[7] * 6, 1, 1]),
        ("TimeSeries", None, [0.5, 1.5], [5.0, 8.0], {"continuity": "step"}, [0.5] * 6 + [1.5] * 4),
        # What is measured is interpolated.
        ("TimeSeries", None, [0.25, 10.25], [0.0, 10.0], {}, np.arange(10) / 2 + 5.5),
    ],
)  # fmt: skip
def test_events_are_counted_and_states_held(tmp_path, kind, container, data, times, more, expected):
    makes = getattr(pynwb.misc if kind == "IntervalSeries" else pynwb, kind)
    holder = container and getattr(pynwb.behavior, container)

    def fill(file, module):
        unit = {} if kind == "IntervalSeries" else {"unit": "n/a"}
        made = makes(name="it", data=np.asarray(data), timestamps=times, **unit, **more)
        if holder is None:
            module.add(made)
        elif kind == "IntervalSeries":
            module.add(holder(name="holder", interval_series=made))
        else:
            module.add(holder(name="holder", time_series=made))

    rec = read_nwb(file_with(tmp_path, fill), bin=0.5, start=5.0, stop=10.0, max_gap=20)
    np.testing.assert_array_equal(rec["it"].values, expected)


@pytest.mark.parametrize(
    "options", [{}, {"start": 0.0, "stop": 10.0}, {"intervals": [[0.0, 3.0], [3.0, 10.0]]}]
)
def test_bins_in_which_no_unit_was_observed_are_left_out(tmp_path, options):
    def fill(file, module):
        file.add_unit(spike_times=[6.0, 6.1], obs_intervals=[[5.0, 8.0], [9.0, 10.0]])
        file.add_unit(spike_times=[9.25], obs_intervals=[[6.0, 8.0], [9.0, 10.0]])

    rec = read_nwb(file_with(tmp_path, fill), bin=0.5, **options)
    np.testing.assert_allclose(rec["time"], [5.25, 5.75, 6.25, 6.75, 7.25, 7.75, 9.25, 9.75])
    none = np.nan
    np.testing.assert_array_equal(rec[:, 0], [0, 0, 2, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(rec[:, 1], [none, none, 0, 0, 0, 0, 1, 0])
    with pytest.raises(NisslError, match="no unit was observed"):
        read_nwb(tmp_path / "s.nwb", bin=0.5, start=0.0, stop=4.0)


def test_samples_without_a_time_are_kept(tmp_path):
    def fill(file, module):
        times = np.arange(20) / 10
        times[[3, 19]] = np.nan
        data = np.arange(20.0)
        file.add_acquisition(pynwb.TimeSeries(name="it", data=data, unit="V", timestamps=times))

    path = file_with(tmp_path, fill)
    with pytest.warns(UserWarning, match="2 samples of 'it' have no time"):
        rec = read_nwb(path, series="it")
    np.testing.assert_array_equal(rec[:, 0], np.arange(20))
    assert np.isnan(rec["time"].values).nonzero()[0].tolist() == [3, 19]
    with pytest.warns(UserWarning, match="1 samples"):
        part = read_nwb(path, series="it", start=0.2, stop=0.6)
    np.testing.assert_array_equal(part[:, 0], [2, 4, 5])


def test_trials_are_their_ids_and_other_tables_label_nothing(tmp_path):
    def fill(file, module):
        file.add_trial(start_time=5.0, stop_time=7.0, id=70)
        file.add_trial(start_time=7.0, stop_time=10.0, id=90)
        ripples = pynwb.epoch.TimeIntervals(name="sleep_ripple", description="ripples")
        ripples.add_interval(start_time=5.2, stop_time=5.3)
        file.add_time_intervals(ripples)

    path = file_with(tmp_path, fill)
    beside = read_nwb(path, bin=0.1)
    assert beside["trial"].values.tolist() == [70] * 20 + [90] * 30
    np.testing.assert_array_equal(
        read_nwb(path, bin=0.1, intervals="trials")["trial"], beside.trial
    )
    assert "sleep_ripple" not in beside.coords


@pytest.mark.parametrize("name", ["acquisition/it/data", "units/spike_times"])
def test_a_size_that_is_only_stated_takes_no_memory(tmp_path, name):
    h5py = pytest.importorskip("h5py")

    def fill(file, module):
        data = pynwb.H5DataIO(np.arange(20.0), maxshape=(None,), chunks=(10,))
        file.add_acquisition(pynwb.TimeSeries(name="it", data=data, unit="V", rate=1.0))

    path = file_with(tmp_path, fill)
    with h5py.File(path, "a") as file:
        if name not in file or file[name].maxshape[0] is not None:
            kept, attrs = file[name][:], dict(file[name].attrs)
            del file[name]
            file.create_dataset(name, data=kept, maxshape=(None,), chunks=(10,))
            file[name].attrs.update(attrs)
        file[name].resize((10**8,))
    tracemalloc.start()
    with pytest.raises(NisslError, match="bytes, of which"):
        read_nwb(path, series="it" if "data" in name else "units")
    assert tracemalloc.get_traced_memory()[1] < 1e8
    tracemalloc.stop()


def test_bins_that_touch_invalid_times_are_marked(tmp_path):
    def fill(file, module):
        file.add_invalid_time_interval(start_time=5.05, stop_time=5.15)
        file.add_invalid_time_interval(start_time=5.1, stop_time=5.2)

    rec = read_nwb(file_with(tmp_path, fill), bin=0.1, start=5.0, stop=5.4)
    assert rec["invalid_time"].values.tolist() == [True, True, False, False]


def test_units_have_the_regions_of_their_electrodes(tmp_path):
    def fill(file, module):
        group = file.create_electrode_group("g", "d", "l", file.create_device("probe"))
        for place in ("V1", "IT", "IT"):
            file.add_electrode(group=group, location=place)
        file.add_unit(spike_times=[5.0, 6.0], electrodes=[1, 2])
        file.add_unit(spike_times=[5.5], electrodes=[0, 2])

    assert read_nwb(file_with(tmp_path, fill))["region"].values.tolist() == ["IT", "V1, IT"]


def test_what_is_there_is_listed_where_it_is_ambiguous(tmp_path):
    two = write(tmp_path / "two.nwb", units=False, series=("dff", "neuropil"))
    with pytest.raises(NisslError, match="several series") as caught:
        read_nwb(two)
    assert "dff, neuropil, head, place" in caught.value.do
    one = write(tmp_path / "one.nwb", units=False)
    assert read_nwb(one).shape == (20, 2)
    none = write(tmp_path / "none.nwb", units=False, series=())
    with pytest.raises(NisslError, match="no activity"):
        read_nwb(none)
    assert read_nwb(none, series="place").shape == (900, 2)


def test_unknown_names_come_with_the_nearest(session):
    with pytest.raises(UnknownName, match="did you mean 'dff'"):
        read_nwb(session, series="df")
    with pytest.raises(UnknownName, match="did you mean 'trials'"):
        read_nwb(session, intervals="trial")


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_truncated_files_are_refused(session, tmp_path, part):
    whole = session.read_bytes()
    path = tmp_path / "cut.nwb"
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(NisslError, match="damaged, cut short") as caught:
        read_file(path)
    assert "again" in caught.value.do


def test_no_bridge_over_long_gaps():
    times = np.array([0.0, 1.0, 2.0, 10.0, 11.0])
    at = np.array([-1.0, 0.5, 2.0, 5.0, 10.0, 10.5, 12.0])
    found = interpolate(at, times, times * 2, max_gap=1.0)
    np.testing.assert_array_equal(found, [np.nan, 1.0, 4.0, np.nan, 20.0, 21.0, np.nan])
    lost = interpolate(at, times, np.full(5, np.nan))
    assert np.isnan(lost).all()


def test_directions_around_zero_stay_around_zero():
    times = np.linspace(0, 1, 11)
    angle = np.angle(np.exp(1j * times * 9))
    found = interpolate(times[:-1] + 0.05, times, angle, period=2 * np.pi)
    assert found.min() < -1
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * (times[:-1] + 0.05) * 9), atol=1e-9)


def test_a_heap_that_hdf5_would_walk_for_ever_is_refused(session, tmp_path):
    data = bytearray(session.read_bytes())
    at = data.find(b"GCOL\1\0\0\0")
    first = at + 32 + (int.from_bytes(data[at + 24 : at + 32], "little") + 7) // 8 * 8
    data[first : first + 64] = bytes(64)
    (tmp_path / "a.nwb").write_bytes(bytes(data))
    with pytest.raises(NisslError, match="its heap at byte"):
        read_nwb(tmp_path / "a.nwb")
