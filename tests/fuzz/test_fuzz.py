"""Changed files give a Recording or an error of ours: no other, no hang, no flood of memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GROUPS = {
    "eeg": "s.edf d.edf s.bdf s_raw.fif s-epo.fif s_raw.fif.gz t_raw.fif.gz s.vhdr",
    "brains": "s.nii s.nii.gz t.nii.gz s.func.gii s.nwb",
    "tables": "s.csv s.tsv.gz t.csv.gz s.parquet s.npz t.npz s.npy s.store",
    "matlab": "s.mat t.mat v.mat w.mat",
    "eeglab": "s.set e.set d.set f.set",
    "specimens": "s.gguf s.tar s.deb s.zip s.pkl model.json s.jsonl",
}


@pytest.mark.parametrize("group", GROUPS)
def test_changed_files_are_read_or_refused(group: str) -> None:
    """In a process of its own, which a library may end; NISSL_FUZZ says how many of each file."""
    for library in {"eeg": ["mne"], "eeglab": ["mne"], "brains": ["nibabel", "pynwb"]}.get(
        group, []
    ):
        pytest.importorskip(library)
    n = os.environ.get("NISSL_FUZZ", "50")
    command = [sys.executable, str(HERE / "run.py"), n, "0", *GROUPS[group].split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line for line in lines if "wrong" in line] == []
    assert lines, done.stderr[-2000:]
    assert lines[-1] == {"done": True}, f"ended by {lines[-1]}: {done.stderr[-2000:]}"
