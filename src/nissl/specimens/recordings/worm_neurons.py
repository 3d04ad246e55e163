"""The neurons of the worm: one order, whatever a laboratory calls them, and activity in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from nissl.errors import NisslError, UnknownName, require_known
from nissl.methods import method
from nissl.recording import Recording, as_recording, concat, resample

__all__ = ["worm_activity", "worm_neurons"]

HERMAPHRODITE = """
    ADAL ADAR ADEL ADER ADFL ADFR ADLL ADLR AFDL AFDR AIAL AIAR AIBL AIBR AIML AIMR AINL AINR
    AIYL AIYR AIZL AIZR ALA ALML ALMR ALNL ALNR AQR AS1 AS10 AS11 AS2 AS3 AS4 AS5 AS6 AS7 AS8
    AS9 ASEL ASER ASGL ASGR ASHL ASHR ASIL ASIR ASJL ASJR ASKL ASKR AUAL AUAR AVAL AVAR AVBL
    AVBR AVDL AVDR AVEL AVER AVFL AVFR AVG AVHL AVHR AVJL AVJR AVKL AVKR AVL AVM AWAL AWAR AWBL
    AWBR AWCL AWCR BAGL BAGR BDUL BDUR CANL CANR CEPDL CEPDR CEPVL CEPVR DA1 DA2 DA3 DA4 DA5 DA6
    DA7 DA8 DA9 DB1 DB2 DB3 DB4 DB5 DB6 DB7 DD1 DD2 DD3 DD4 DD5 DD6 DVA DVB DVC FLPL FLPR HSNL
    HSNR I1L I1R I2L I2R I3 I4 I5 I6 IL1DL IL1DR IL1L IL1R IL1VL IL1VR IL2DL IL2DR IL2L IL2R
    IL2VL IL2VR LUAL LUAR M1 M2L M2R M3L M3R M4 M5 MCL MCR MI NSML NSMR OLLL OLLR OLQDL OLQDR
    OLQVL OLQVR PDA PDB PDEL PDER PHAL PHAR PHBL PHBR PHCL PHCR PLML PLMR PLNL PLNR PQR PVCL
    PVCR PVDL PVDR PVM PVNL PVNR PVPL PVPR PVQL PVQR PVR PVT PVWL PVWR RIAL RIAR RIBL RIBR RICL
    RICR RID RIFL RIFR RIGL RIGR RIH RIML RIMR RIPL RIPR RIR RIS RIVL RIVR RMDDL RMDDR RMDL RMDR
    RMDVL RMDVR RMED RMEL RMER RMEV RMFL RMFR RMGL RMGR RMHL RMHR SAADL SAADR SAAVL SAAVR SABD
    SABVL SABVR SDQL SDQR SIADL SIADR SIAVL SIAVR SIBDL SIBDR SIBVL SIBVR SMBDL SMBDR SMBVL
    SMBVR SMDDL SMDDR SMDVL SMDVR URADL URADR URAVL URAVR URBL URBR URXL URXR URYDL URYDR URYVL
    URYVR VA1 VA10 VA11 VA12 VA2 VA3 VA4 VA5 VA6 VA7 VA8 VA9 VB1 VB10 VB11 VB2 VB3 VB4 VB5 VB6
    VB7 VB8 VB9 VC1 VC2 VC3 VC4 VC5 VC6 VD1 VD10 VD11 VD12 VD13 VD2 VD3 VD4 VD5 VD6 VD7 VD8 VD9
"""
#: Its 302 neurons, sorted as text.
NEURONS = HERMAPHRODITE.split()
#: AWC on and off are told apart by activity, and are on either side: paired as by wormneuroatlas.
ALIASES = {"AWCOFF": "AWCL", "AWCON": "AWCR"}


def worm_neurons(names: Iterable[str] | None = None) -> list[str]:
    """Return neurons by the names that all readers of the worm use here.

    Parameters
    ----------
    names : iterable of str, optional
        Neurons as others write them: padded (VB01), in small letters, with ``_``, AWC by on and
        off (AWC_ON is taken for AWCR and AWC_OFF for AWCL, though their sides differ between
        animals). By default all 302 of the hermaphrodite, in their order.

    Returns
    -------
    list of str
        A name for each, in the order given.

    Raises
    ------
    UnknownName
        One is none of the 302; the nearest are given.

    Examples
    --------
    >>> worm_neurons(["VB01", "dd6", "AWC_ON"]), len(worm_neurons())
    (['VB1', 'DD6', 'AWCR'], 302)
    """
    known, found = set(NEURONS), []
    for name in NEURONS if names is None else names:
        plain = re.sub(r"(?<=[A-Z])0+(?=\d)", "", str(name).strip().upper().replace("_", ""))
        plain = ALIASES.get(plain, plain)
        if plain not in known:
            do = "leave out what is not identified, with select; worm_neurons() lists them all"
            raise UnknownName("neuron of the worm", str(name), NEURONS, do=do)
        found.append(plain)
    return found


@method(system=232)
def worm_activity(
    worms: Mapping[str, Recording],
    *,
    rate: float,
    missing: Literal["nan", "drop"] = "nan",
) -> Recording:
    """Put recordings of many worms into one order of neurons, at one rate.

    Parameters
    ----------
    worms : mapping of str to Recording
        By the name of the worm: activity with ``time`` in seconds, units named by neuron.
    rate : float
        Samples a second; see `nissl.recording.resample`, also on gaps.
    missing : {"nan", "drop"}
        All 302 neurons, NaN where a worm lacks one; or only those that every worm has.

    Returns
    -------
    Recording, shape (n_samples, n_neurons)
        Worms one after another. Samples: ``subject`` (its name), ``time``, and what all of them
        have. Units: ``unit``, sorted as in `worm_neurons`.

    Raises
    ------
    UnknownName
        A unit is none of the worm's neurons.
    NisslError
        Two units of a worm are one neuron, no neuron is in every worm, quantities differ, or an
        error of `resample`.

    Examples
    --------
    >>> time = {"time": [0.0, 1.0, 2.0]}
    >>> a = as_recording([[1], [2], [3]], samples=time, units={"unit": ["VB02"]})
    >>> b = as_recording([[4, 5], [5, 6], [6, 7]], samples=time, units={"unit": ["VB2", "AVAL"]})
    >>> worm_activity({"a": a, "b": b}, rate=1, missing="drop").shape
    (6, 1)

    Source: Simeon et al. 2024 (system 232).
    """
    require_known("missing", missing, ("nan", "drop"))
    if not worms:
        raise NisslError("there are no worms", where="worms", do="give one or more by name")
    made, names, shared = {}, {}, set(NEURONS)
    for worm, given in worms.items():
        names[worm] = worm_neurons(given["unit"].values)
        twice = {name for name in names[worm] if names[worm].count(name) > 1}
        if twice:
            raise NisslError(
                f"two units are one neuron: {', '.join(sorted(twice))}",
                where=worm,
                do="average them, or leave one out with select",
            )
        made[worm] = resample(given, rate=rate)
        shared &= set(names[worm])
    kept = NEURONS if missing == "nan" else sorted(shared)
    if not kept:
        raise NisslError("no neuron is in every worm", where="missing", do="give missing='nan'")
    held = [set(map(str, _along(rec))) - {"subject"} for rec in made.values()]
    common = sorted(set.intersection(*held))
    recs = []
    for worm, rec in made.items():
        place = {name: u for u, name in enumerate(names[worm])}
        values = np.full((rec.sizes["sample"], len(kept)), np.nan)
        there = [i for i, name in enumerate(kept) if name in place]
        values[:, there] = rec.values[:, [place[kept[i]] for i in there]]
        samples: dict[str, Any] = {"subject": np.full(len(values), worm)}
        samples |= {name: rec[name].values for name in common}
        about = {"quantity": rec.attrs.get("quantity", "activity")}
        about |= {"attrs": {"sampling_rate": float(rate), "specimen": "worm"}}
        recs.append(as_recording(values, samples=samples, units={"unit": kept}, **about))
    return concat(recs)


def _along(rec: Recording) -> list[Any]:
    """Return the names of a recording's sample coordinates."""
    return [name for name, column in rec.coords.items() if column.dims == ("sample",)]
