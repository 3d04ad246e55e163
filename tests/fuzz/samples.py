"""A small sound file of every format, and how it is read."""

from __future__ import annotations

import datetime
import io
import json
import pickle
import random
import shutil
import tarfile
import uuid
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from mutations import mutated, within_gzip, within_zip


class Sample(NamedTuple):
    """A file and its reader; `mutate` changes its bytes, `checked` says that any change shows."""

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    mutate: Callable[[bytes, np.random.Generator], bytes] = mutated
    checked: bool = False


def quiet(write: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def wrapped(path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(path)

    return wrapped


def recording(path: Path, **options: Any) -> Any:
    from nissl.recording.readers import read_file

    return read_file(path, **options).values


def edf(path: Path, plus: bool = False) -> None:
    width = 3 if path.suffix == ".bdf" else 2
    labels, n = ["Fz", "EDF Annotations"], 2
    rates, top = [50, 30], 2 ** (8 * width - 1) - 1
    fields = [("0", 8), ("X", 80), ("", 80), ("01.01.20", 8), ("00.00.00", 8), (str(256 * 3), 8)]
    fields += [("EDF+D" if plus else "EDF+C", 44), ("3", 8), ("1", 8), (str(n), 4)]
    for texts, wide in (
        (labels, 16), ([""] * n, 80), (["uV", ""], 8), (["-100"] * n, 8), (["100"] * n, 8),
        ([str(-top - 1)] * n, 8), ([str(top)] * n, 8), ([""] * n, 80), (map(str, rates), 8),
        ([""] * n, 32),
    ):  # fmt: skip
        fields += [(text, wide) for text in texts]
    body = b""
    for record in range(3):
        body += np.arange(50, dtype="<i4").view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
        at = record + 10 * (record == 2) * plus
        body += f"+{at}\x14\x14\x00+{at}.5\x150.2\x14note\x14\x00".encode().ljust(30 * width, b"\0")
    path.write_bytes("".join(t.ljust(w) for t, w in fields).encode() + body)


def raw() -> Any:
    import mne

    made = mne.io.RawArray(
        np.random.default_rng(0).normal(size=(2, 200)) * 1e-6,
        mne.create_info(["Fz", "STI"], 100.0, ["eeg", "stim"]),
        verbose="error",
    )
    return made.set_annotations(mne.Annotations([0.5], [0.2], ["a"]))


def epochs(path: Path) -> None:
    import mne

    made = mne.make_fixed_length_epochs(raw(), 0.5, preload=True, verbose="error")
    made.save(path, verbose="error")


def brainvision(path: Path) -> None:
    path.with_name("s.eeg").write_bytes(np.zeros((100, 2), "<f4").tobytes())
    path.with_name("s.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=s.eeg\n"
        "[Marker Infos]\nMk1=Stimulus,S  1,50,1,0\n"
    )
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        "DataFile=s.eeg\nMarkerFile=s.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        "NumberOfChannels=2\nSamplingInterval=10000\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n"
        "[Channel Infos]\nCh1=a,,1,uV\nCh2=b,,0.5,nV\n"
    )


def eeglab(path: Path, trials: int = 1, apart: bool = False) -> None:
    import scipy.io

    def structs(**fields: list[Any]) -> Any:
        made = np.empty((1, 2), dtype=[(name, object) for name in fields])
        for i in range(2):
            made[0, i] = tuple(column[i] for column in fields.values())
        return made

    data = np.random.default_rng(0).normal(size=(2, 50, trials))
    path.with_suffix(".fdt").write_bytes(data.astype("<f4").tobytes("F"))
    eeg = {
        "nbchan": 2.0, "trials": float(trials), "pnts": 50.0, "srate": 100.0, "xmin": 0.0,
        "xmax": 0.49, "data": path.with_suffix(".fdt").name if apart else np.squeeze(data),
        "chanlocs": structs(labels=["Fz", "Cz"], type=["EEG"] * 2, X=[0.1, 0.0], Y=[0.0, 0.1],
                            Z=[0.05, 0.05]),
        "event": structs(type=["a", "boundary"], latency=[10.0, 30.5], duration=[2.0, 100.0]),
        "epoch": structs(event=[1, 2], eventtype=["a", "b"]),
    }  # fmt: skip
    scipy.io.savemat(path, {"EEG": eeg} if apart else eeg, appendmat=False)


def nifti(path: Path) -> None:
    import nibabel

    values = np.random.default_rng(0).normal(size=(4, 3, 2, 5)).astype(np.float32)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((1, 1, 1, 2.0))
    nibabel.save(image, path)


def gifti(path: Path) -> None:
    import nibabel

    arrays = [
        nibabel.gifti.GiftiDataArray(
            np.arange(6, dtype=np.float32) + i, intent="NIFTI_INTENT_TIME_SERIES"
        )
        for i in range(4)
    ]
    nibabel.save(nibabel.GiftiImage(darrays=arrays), path)


def nwb(path: Path) -> None:
    import pynwb

    day = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    # The same bytes each time, so that an input that did harm can be made again.
    draws = random.Random(0)
    ids = (uuid.UUID(int=draws.getrandbits(128), version=4) for _ in range(10**6))
    with mock.patch("hdmf.container.uuid4", side_effect=ids):
        _nwb(pynwb, path, day)


def _nwb(pynwb: Any, path: Path, day: datetime.datetime) -> None:
    file = pynwb.NWBFile("a", "b", day, file_create_date=day)
    file.add_unit(spike_times=[0.1, 0.5, 1.2], obs_intervals=[[0.0, 2.0]])
    file.add_trial(start_time=0.0, stop_time=1.0)
    module = file.create_processing_module("behavior", "c")
    module.add(pynwb.TimeSeries(name="speed", data=np.arange(20.0), unit="m/s", rate=10.0))
    with pynwb.NWBHDF5IO(str(path), "w") as io_:
        io_.write(file)


def table() -> Any:
    import pandas as pd

    n = 20
    words = {"side": ["left", "right"] * 10, "when": pd.date_range("2020-01-01", periods=n)}
    return pd.DataFrame({**words, "a": np.arange(n) / 4, "b": np.arange(n)})


def npz(path: Path) -> None:
    np.savez(path, values=np.eye(6, 3), time=np.arange(6.0), unit=np.array(["a", "b", "c"]))


def matlab(path: Path, packed: bool = False) -> None:
    """A table with labels, and spike times in an array of structs."""
    import scipy.io

    units = np.empty((1, 3), dtype=[("times", object), ("region", object)])
    for i, region in enumerate(["V1", "V2", "IT"]):
        units[0, i] = (np.linspace(0, 1 + i, 9), region)
    made = {"x": np.eye(6, 3), "time": np.arange(6.0), "side": np.array(list("lrlrlr"), object)}
    scipy.io.savemat(path, {**made, "cells": units}, do_compression=packed)


def matlab_73(path: Path) -> None:
    """The same, as MATLAB lays it out in HDF5."""
    import h5py

    def put(group: Any, name: str, data: Any, kind: str) -> Any:
        made = group.create_dataset(name, data=data)
        made.attrs["MATLAB_class"] = np.bytes_(kind)
        return made.ref

    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        put(file, "x", np.eye(6, 3).T, "double")
        words = [put(refs, f"w{i}", np.array([[ord(c)]], "u2"), "char") for i, c in enumerate("lr")]
        put(file, "side", np.array([words * 3], h5py.ref_dtype), "cell")
        file.create_group("cells").attrs["MATLAB_class"] = np.bytes_("struct")
        trains = [put(refs, f"t{i}", np.linspace(0, 1 + i, 9)[:, None], "double") for i in (0, 1)]
        file["cells"].create_dataset("times", data=np.array([trains], h5py.ref_dtype))
    head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"
    with path.open("r+b") as raw_file:
        raw_file.write(head)


def recordings(path: Path) -> Any:
    """Both kinds of a MATLAB file, so that all of it is read."""
    return np.append(recording(path, values="x"), recording(path, values="cells.times", bin=0.1))


def within_matlab(data: bytes, rng: np.random.Generator) -> bytes:
    """Change one packed variable, and pack it again so that its checksum fits."""
    parts, at = [], 128
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        parts.append(zlib.decompress(data[at + 8 : at + 8 + size]))
        at += 8 + size
    chosen = int(rng.integers(len(parts)))
    packed = data[:128]
    for i, part in enumerate(parts):
        body = zlib.compress(mutated(part, rng) if i == chosen else part, 1)
        packed += (15).to_bytes(4, "little") + len(body).to_bytes(4, "little") + body
    return packed


def store(path: Path) -> None:
    """A store, whose files are laid one behind another."""
    from nissl.recording import as_recording, save

    rec = as_recording(np.eye(20, 3), samples={"side": ["l", "r"] * 10}, units={"x": [1, 2, 3]})
    folder = path.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    save(rec, folder, progress=False)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    sizes = [(p.relative_to(folder).as_posix(), p.stat().st_size) for p in files]
    path.with_suffix(".json").write_text(json.dumps(sizes))
    path.write_bytes(b"".join(p.read_bytes() for p in files))


def read_store(path: Path) -> Any:
    from nissl.recording import open_store

    data, folder = path.read_bytes(), path.with_suffix("")
    for name, size in json.loads(path.with_suffix(".json").read_text()):
        (folder / name).write_bytes(data[:size])
        data = data[size:]
    return open_store(folder).load().values


def one_place(data: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes, keeping how many there are, so that the files of a store stay apart."""
    changed = bytearray(data)
    start = int(rng.integers(len(data)))
    for place in range(start, min(len(data), start + int(rng.choice([1, 1, 4])))):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def gguf_file(path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_array("some.list", [1, 2, 3])
    writer.add_tensor("token_embd.weight", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_gguf(path: Path) -> Any:
    import torch

    from nissl.specimens.gguf_files import tensors

    return dict(tensors(path, torch.float32))


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("a.txt", "b/c.txt"):
            member = tarfile.TarInfo(name)
            member.size = 700
            archive.addfile(member, io.BytesIO(bytes(700)))


def deb(path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as archive:
        member = tarfile.TarInfo("./a")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    body = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("data.tar.xz", inner.getvalue())):
        body += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        body += content + b"\n" * (len(content) % 2)
    path.write_bytes(body)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", "text " * 100)
        archive.writestr("c.bin", bytes(range(256)))


def read_archive(path: Path) -> Any:
    from nissl.specimens.unpack import unpack

    folder = path.with_name("out")
    shutil.rmtree(folder, ignore_errors=True)
    return [(p.relative_to(folder), p.read_bytes()) for p in unpack(path, folder)]


def read_pickle(path: Path) -> Any:
    from nissl.specimens.numpy_pickle import load_arrays

    return load_arrays(path.read_bytes())


def read_tfjs(path: Path) -> Any:
    from nissl.specimens.tfjs import read_tfjs

    path.with_name("a.bin").write_bytes(bytes(64))
    return read_tfjs(path.parent)


def read_text(path: Path) -> Any:
    from nissl.specimens import read_texts

    return read_texts(path)


TFJS = [{"paths": ["a.bin"], "weights": [{"name": "w", "shape": [2, 3], "dtype": "float32"}]}]

SAMPLES = [
    Sample("s.edf", edf, recording),
    Sample("d.edf", lambda p: edf(p, plus=True), recording),
    Sample("s.bdf", edf, recording),
    Sample("s_raw.fif", lambda p: raw().save(p, verbose="error"), recording),
    Sample("s-epo.fif", epochs, recording),
    Sample("s_raw.fif.gz", lambda p: raw().save(p, verbose="error"), recording, checked=True),
    Sample("t_raw.fif.gz", lambda p: raw().save(p, verbose="error"), recording, within_gzip),
    Sample("s.vhdr", brainvision, recording),
    Sample("s.set", eeglab, recording),
    Sample("e.set", lambda p: eeglab(p, trials=2), recording),
    Sample("d.set", lambda p: eeglab(p, apart=True), recording),
    Sample("f.set", lambda p: eeglab(p, trials=2, apart=True), recording),
    Sample("s.nii", nifti, recording),
    Sample("s.nii.gz", nifti, recording, checked=True),
    Sample("t.nii.gz", nifti, recording, within_gzip),
    Sample("s.func.gii", gifti, lambda p: recording(p, tr=2.0)),
    Sample("s.nwb", nwb, recording),
    Sample("s.csv", lambda p: table().to_csv(p, index=False), recording),
    Sample("s.tsv.gz", lambda p: table().to_csv(p, sep="\t"), recording, within_gzip),
    Sample("t.csv.gz", lambda p: table().to_csv(p), recording, checked=True),
    Sample("s.parquet", lambda p: table().to_parquet(p), recording),
    Sample("s.npz", npz, recording, checked=True),
    Sample("t.npz", npz, recording, within_zip),
    Sample("s.npy", lambda p: np.save(p, np.eye(6, 3)), recording),
    Sample("s.mat", matlab, recordings),
    Sample("t.mat", lambda p: matlab(p, packed=True), recordings, within_matlab),
    Sample("v.mat", lambda p: matlab(p, packed=True), recordings),
    Sample("w.mat", matlab_73, recordings),
    Sample("s.store", store, read_store, one_place, checked=True),
    Sample("s.gguf", gguf_file, read_gguf),
    Sample("s.tar", tar, read_archive),
    Sample("s.deb", deb, read_archive),
    Sample("s.zip", zipped, read_archive),
    Sample("s.pkl", lambda p: p.write_bytes(pickle.dumps({"w": np.eye(3), "n": [1, "a"]})),
           read_pickle),
    Sample("model.json", lambda p: p.write_text(json.dumps({"weightsManifest": TFJS})), read_tfjs),
    Sample("s.jsonl", lambda p: p.write_text('{"text": "one", "n": 1}\n"two"\n'), read_text),
]  # fmt: skip
