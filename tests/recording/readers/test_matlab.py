"""MATLAB files: scipy writes version 5, h5py what MATLAB itself writes as version 7.3."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from nissl.errors import NisslError, UnknownName
from nissl.recording import bin_spikes
from nissl.recording.readers import read_file

h5py = pytest.importorskip("h5py")

X = np.random.default_rng(0).normal(size=(8, 3))
TRAINS = [np.array([0.05, 0.31, 1.2]), np.array([]), np.array([0.31])]
WORDS = ["left", "right"] * 4
FORMS = ["plain", "packed", "big-endian", "7.3"]


def cell(elements, column=False):
    made = np.empty((1, len(elements)), dtype=object)
    made[0] = [e[None] if isinstance(e, np.ndarray) and e.ndim == 1 else e for e in elements]
    return made.T if column else made


def structs(**fields):
    made = np.empty((1, 3), dtype=[(name, object) for name in fields])
    for name, elements in fields.items():
        made[name] = cell(elements)
    return made


def put(group, refs, name, value):
    """Write a value as MATLAB 7.3 does: the other way round, cells by references."""
    if isinstance(value, dict):
        made = group.create_group(name)
        for field, content in value.items():
            put(made, refs, field, content)
        made.attrs["MATLAB_class"] = np.bytes_("struct")
        return made
    value = np.asarray(value)
    kinds = {"f": "double", "i": f"int{8 * value.itemsize}", "b": "logical", "U": "char"}
    kind = kinds.get(value.dtype.kind, "cell")
    if value.dtype.names:
        made = group.create_group(name)
        for field in value.dtype.names:
            del put(made, refs, field, value[field]).attrs["MATLAB_class"]
        kind = "struct"
    elif kind == "char":
        rows = np.array([[ord(c) for c in row] for row in np.atleast_1d(value)], "u2")
        made = group.create_dataset(name, data=rows.T)
    elif kind == "cell":
        inner = [put(refs, refs, f"r{len(refs)}", e).ref for e in value.ravel()]
        made = group.create_dataset(
            name, data=np.array(inner, dtype=h5py.ref_dtype).reshape(value.shape).T
        )
    elif value.size == 0:
        made = group.create_dataset(name, data=np.zeros(2, "u8"))
        made.attrs["MATLAB_empty"] = np.uint8(1)
    else:
        values = np.atleast_2d(value)
        made = group.create_dataset(
            name, data=values.T.astype("u1") if kind == "logical" else values.T
        )
    made.attrs["MATLAB_class"] = np.bytes_(kind)
    return made


def write(path, form, **content):
    if form == "big-endian":
        return write_big(path, **content)
    if form != "7.3":
        scipy.io.savemat(path, content, do_compression=form == "packed")
        return path
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for name, value in content.items():
            put(file, refs, name, value)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")
    return path


def element(kind, body, order="<"):
    return struct.pack(order + "II", kind, len(body)) + body + bytes(-len(body) % 8)


def array(code, shape, name, *parts, order="<"):
    body = element(6, struct.pack(order + "II", code, 0), order)
    body += element(5, struct.pack(f"{order}{len(shape)}i", *shape), order) if shape else b""
    return element(14, body + element(1, name.encode(), order) + b"".join(parts), order)


def header(order="<"):
    return b"MATLAB 5.0".ljust(124) + (b"\0\1IM" if order == "<" else b"\1\0MI")


def write_big(path, **content):
    """A machine of the other byte order; numbers, words and cells of both by hand."""

    def made(name, value):
        value = np.asarray(value)
        if value.dtype.kind == "U":
            text = element(16, str(value).encode(), ">")
            return array(4, (1, len(str(value))), name, text, order=">")
        if value.dtype.names:
            names = b"".join(n.encode().ljust(32, b"\0") for n in value.dtype.names)
            parts = [element(5, struct.pack(">i", 32), ">"), element(1, names, ">")]
            parts += [made("", value[n].flat[i]) for i in range(3) for n in value.dtype.names]
            return array(2, value.shape, name, *parts, order=">")
        if value.dtype == object:
            return array(1, value.shape, name, *(made("", v) for v in value.ravel()), order=">")
        numbers = element(9, value.astype(">f8").tobytes("F"), ">")
        return array(6, np.atleast_2d(value).shape, name, numbers, order=">")

    path.write_bytes(header(">") + b"".join(made(n, v) for n, v in content.items()))
    return path


@pytest.mark.parametrize("form", FORMS)
def test_a_matrix_comes_as_matlab_shows_it_with_labels_beside_it(tmp_path, form):
    path = write(
        tmp_path / "a.mat", form, x=X, t=np.arange(8.0)[:, None], depth=np.array([[1.0, 2, 3]]),
        side=cell(WORDS, column=True), unit=cell(["a", "b", "c"]), rate=np.array([[30.0]]),
    )  # fmt: skip
    rec = read_file(path)
    np.testing.assert_array_equal(rec.values, X)
    if form != "7.3":
        np.testing.assert_array_equal(rec.values, scipy.io.loadmat(path)["x"])
    assert rec["t"].values.tolist() == list(range(8))
    assert rec["side"].values.tolist() == WORDS
    assert rec["depth"].values.tolist() == [1, 2, 3]
    assert rec["unit"].values.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["cell", "structs"])
def test_a_vector_of_spike_times_a_unit_is_binned(tmp_path, form, kind):
    regions = ["V1", "V2", "IT"]
    content = {
        "cell": {"spikes": cell(TRAINS), "region": cell(regions)},
        "structs": {"spikes": structs(times=TRAINS, region=regions)},
    }[kind]
    rec = read_file(write(tmp_path / "s.mat", form, **content), bin=0.1)
    events = {"time": np.concatenate(TRAINS), "unit": [0, 0, 0, 2]}
    expected = bin_spikes(events, bin=0.1, units=[0, 1, 2])
    np.testing.assert_array_equal(rec.values, expected.values)
    np.testing.assert_array_equal(rec["time"], expected["time"])
    address = "spikes" if kind == "cell" else "spikes.times"
    assert rec["unit"].values.tolist() == [f"{address}[{i}]" for i in range(3)]
    assert rec["region"].values.tolist() == regions


@pytest.mark.parametrize("form", ["packed", "7.3"])
def test_what_is_meant_is_asked_for_by_name(tmp_path, form):
    content = {
        "x": X,
        "session": {"y": X[:4], "t": np.arange(4.0)[:, None]},
        "rate": np.ones((1, 1)),
    }
    path = write(tmp_path / "n.mat", form, **content, spikes=cell(TRAINS))
    with pytest.raises(NisslError, match="3 arrays could be the values: "):
        read_file(path)
    rec = read_file(path, values="session.y")
    np.testing.assert_array_equal(rec.values, X[:4])
    assert rec["t"].values.tolist() == [0, 1, 2, 3]
    assert read_file(path, values="spikes", bin=0.1).shape == (12, 3)
    with pytest.raises(UnknownName, match="did you mean 'spikes'") as caught:
        read_file(path, values="spike")
    assert "x (8, 3)" in str(caught.value) or "x double (8, 3)" in str(caught.value)


@pytest.mark.parametrize("form", ["packed", "7.3"])
@pytest.mark.parametrize("dtype", ["int16", "float32", "bool"])
def test_numbers_keep_their_type(tmp_path, form, dtype):
    path = write(tmp_path / "t.mat", form, x=(X * 100).astype(dtype))
    rec = read_file(path)
    assert rec.dtype == dtype
    np.testing.assert_array_equal(rec.values, (X * 100).astype(dtype))


@pytest.mark.parametrize("form", ["packed", "7.3"])
def test_sparse_matrices_are_filled(tmp_path, form):
    matrix = scipy.sparse.csc_array(np.where(X > 0, X, 0))
    path = tmp_path / "s.mat"
    if form == "packed":
        scipy.io.savemat(path, {"x": matrix}, do_compression=True)
    else:
        write(path, form, x={"data": matrix.data, "ir": matrix.indices, "jc": matrix.indptr})
        with h5py.File(path, "r+") as file:
            for name, values in (
                ("data", matrix.data),
                ("ir", matrix.indices),
                ("jc", matrix.indptr),
            ):
                del file["x"][name]
                file["x"][name] = values
            file["x"].attrs["MATLAB_sparse"] = np.uint64(8)
            file["x"].attrs["MATLAB_class"] = np.bytes_("double")
    np.testing.assert_array_equal(read_file(path).values, matrix.toarray())


@pytest.mark.parametrize("form", ["plain", "7.3"])
def test_objects_of_matlab_are_refused_by_name(tmp_path, form):
    path = write(tmp_path / "o.mat", form, x=X)
    if form == "plain":
        words = [element(1, w) for w in (b"MCOS", b"table")]
        with path.open("ab") as file:
            inner = array(13, (1, 1), "", element(6, struct.pack("<I", 1)))
            file.write(array(17, (), "trials", *words, inner))
    else:
        with h5py.File(path, "r+") as file:
            file["trials"] = np.zeros((1, 6), "u4")
            file["trials"].attrs["MATLAB_class"] = np.bytes_("table")
    np.testing.assert_array_equal(read_file(path).values, X)
    with pytest.raises(NisslError, match=r"'trials' is neither .* object of class table"):
        read_file(path, values="trials")


def bombs():
    """Files of a few bytes that state gigabytes."""
    zeros = zlib.compress(bytes(10**6), 9)
    many = (2**20, 2**10)
    yield "a matrix", array(6, many, "x", element(9, bytes(8)))
    yield "a cell", array(1, many, "x")
    yield "words", array(4, many, "x", element(16, b""))
    yield (
        "structs without fields",
        array(2, many, "x", element(5, bytes([8, 0, 0, 0])), element(1, b"")),
    )
    yield "a size", struct.pack("<II", 14, 2**31)
    yield "packed", struct.pack("<II", 15, len(zeros)) + zeros
    inner = zlib.compress(struct.pack("<II", 14, 2**31) + array(6, many, "x")[8:])
    yield "a packed size", struct.pack("<II", 15, len(inner)) + inner
    places = [element(5, struct.pack("<2i", 10**9, 0)), element(5, struct.pack("<3i", 0, 1, 2))]
    numbers = element(9, bytes(16))
    yield "places beyond a sparse matrix", array(5, (2, 2), "x", *places, numbers)
    deep = array(6, (1, 1), "", element(9, bytes(8)))
    for i in range(2000):
        deep = array(1, (1, 1), "" if i < 1999 else "x", deep)
    yield "cells in cells", deep
    yield "a type that is none", array(4, (1, 4), "x", element(20, b"abcd"))


@pytest.mark.parametrize(("what", "body"), bombs(), ids=lambda p: p if isinstance(p, str) else "")
def test_sizes_are_compared_before_memory_is_taken(tmp_path, what, body):
    path = tmp_path / "b.mat"
    path.write_bytes(header() + body)
    tracemalloc.start()
    with pytest.raises(NisslError, match="damaged"):
        read_file(path)
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()


@pytest.mark.parametrize("what", ["stated", "link", "external", "itself"])
def test_a_file_of_hdf5_holds_its_own_numbers_only(tmp_path, what):
    path = write(tmp_path / "l.mat", "7.3", x=X)
    np.save(tmp_path / "secret.npy", np.eye(4))
    with h5py.File(path, "r+") as file:
        if what == "stated":
            file.create_dataset("y", shape=(10**5, 10**5), dtype="f8", chunks=(100, 100))
        elif what == "link":
            file["y"] = h5py.ExternalLink("other.mat", "/x")
        elif what == "external":
            file.create_dataset("y", (4, 4), "f8", external=[(tmp_path / "secret.npy", 0, 128)])
        else:
            file["y"] = np.array([[file["x"].ref]], dtype=h5py.ref_dtype)
            file["y"][0, 0] = file["y"].ref
            file["#refs#/again"] = file["#refs#"]
            file["z"] = file["#refs#"]
    if what == "itself":
        np.testing.assert_array_equal(read_file(path).values, X)
        return
    with pytest.raises(NisslError, match=r"link|another file|are stored"):
        read_file(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_truncated_files_are_refused(tmp_path, form, part):
    path = write(tmp_path / "c.mat", form, x=np.random.default_rng(0).normal(size=(200, 30)))
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(NisslError, match="damaged"):
        read_file(path)
