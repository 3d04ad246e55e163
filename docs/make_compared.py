"""Make the page that compares: `make bench-compared`, then `python docs/make_compared.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.compared.__main__ import KEPT, PEERS, columns, starts  # noqa: E402

from nissl.cli.printing import markdown  # noqa: E402

HEAD = """# Comparison

The same work done by seven other libraries and by Nissl: what each is better at, and what it costs.
[Coming from another library](coming_from.md) has their names beside ours.

| you want | take |
|---|---|
| the hook names of every course, a model of the field's own zoo | TransformerLens |
| any code in the middle of any forward pass, or a model on others' machines | nnsight |
| a dictionary that somebody else has trained | SAELens |
| attribution to inputs by any of twenty methods | Captum |
| explanations of features of large models, made and shared | Neuronpedia |
| images of brains: general linear models, surfaces, searchlights | nilearn |
| inference on models of dissimilarities, over subjects and stimuli | rsatoolbox |
| every unit of your own network or recording, with nulls, on a page of your own | Nissl |

They work together: Nissl calls nilearn, reads SAELens' files and takes TransformerLens' hook names.

## How it was measured

SmolLM2 (135 million parameters, float32) and Haxby's recording, both [specimens](first_page.md).
Each library shares an environment with Nissl. Both do a task in one process, on one thread, in
turn, after their results were found to be the same: *apart* is the largest difference, in root mean
squares of theirs, and at most 0.01, but where two methods are compared. Seconds are medians of two
to five rounds, of the clock on the wall in brackets; *theirs / ours* is the median of the rounds'
ratios of CPU time, with their range: above 1 Nissl took less. Other work ran on the machine, so
that the clock on the wall says little.

The code is `bench/compared`: a file a library, with the two functions of a task one above the
other. `make bench-compared` runs it, and `docs/make_compared.py` makes this page of what it found.
"""
SAID = {
    "transformer_lens": """
Better there: a name for every part of over a hundred architectures, heads' weights as matrices, a
course's worth of examples, and p-values of patches over examples. Recording costs a forward pass in
both; theirs computes the head as well, which Nissl leaves out where nobody asks for it. Exact
patching is where they part: Nissl computes what lies before the patch once, and patches in batches.
""",
    "nnsight": """
Faster there: saving a site, by a hair, and starting. Better there: any code at any place of any
forward pass, inside a module's own code too, on one's own machine or, with `remote=True`, on a
large model elsewhere. It has no analysis, and means to have none. Each patch was a trace here, and
a whole forward pass; several prompts in one trace (`tracer.invoke`) were not tried.
""",
    "sae_lens": """
Better there: the list of trained dictionaries and the code that trained them, more kinds, training
straight from a network, and graphics processors first of all. Nissl reads the same files, and
encodes in the same time. On a CPU an update of training takes less here, since only what is active
is multiplied.
""",
    "captum": """
Faster there: starting. Better there: the number of methods, any module and any input, and
quadrature that needs fewer steps. Activity of layers costs the same. Along a site Nissl begins
each step at the site, not at the input. No method comes with a null there: that an attribution is
large says nothing by itself.
""",
    "nilearn": """
Faster there: a classifier of scikit-learn with its permutations, in float32, where Nissl computes
in float64. Better there: everything about images; Nissl's cleaning *is* nilearn's, so that reading
costs the same. nilearn has no null of its own for decoding, and scikit-learn's permutes single
volumes inside runs. Volumes of one block are not independent: blocks are what Nissl moves.
""",
    "rsatoolbox": """
Faster there: few permutations, since Nissl also leaves out twenty groups of stimuli for its
interval. Better there: models that are fitted, inference over subjects and stimuli at once,
whitened comparisons, ranks without ties. Nissl has null, interval and ceiling of a comparison in
one call, aligns stimuli by name, and has other measures as well.
""",
}
README = "https://github.com/hijohnnylin/neuronpedia#readme"
ISSUES = "https://github.com/hijohnnylin/neuronpedia/issues"
NEURONPEDIA = f"""
## Neuronpedia

It was not run: it needs a database and servers that this machine does not have, and nothing of it
was timed. What it takes to see one's own model's units, as [its README]({README})
said in August 2026:

"""
STEPS = [
    ("needs", "Postgres 16 with pgvector, Node 22, uv; 16 GB of memory recommended", "Python 3.11"),
    ("runs", "a web application, a database, an inference server for each model", "one process"),
    ("begins with", "an empty database", "the atlas that it is given"),
    (
        "a dictionary of one's own",
        "ten steps: put it on Hugging Face, add it to SAELens' list, give SAEDashboard that, "
        "generate (30 minutes to a few hours), convert, have the maintainers upload it, import "
        f"([#46]({ISSUES}/46) is to make this simpler)",
        "`nissl atlas MODEL --text FILES --dictionary FILE --out DIR`, `nissl view DIR`",
    ),
    (
        "a model of one's own",
        "through TransformerLens and a configuration file; how to load dictionaries that SAELens "
        f"does not list is to be written ([#2]({ISSUES}/2))",
        "any module, from a folder or from Python",
    ),
    ("explanations in words", "by a language model, scored", "none: tokens and pairs, with q"),
    ("to show others", "an address that all can open", "a file to send"),
]
GOOD = """

Better there: what is on the public site, which nobody else has: explained dictionaries of large
models, search by meaning, attribution graphs, lists that are shared. For those go there. For a
network that is not there, or that may not leave the house, make an atlas.
"""
START = """
## Until the first number

A process for each library does the first task of its table once and ends: its CPU seconds, with
Python, all that is imported and the network or the files that are loaded, and its largest memory.
The libraries' files had been read before.

"""


def page(found: dict[str, Any]) -> str:
    """Return the page of what was measured."""
    parts = [HEAD]
    for peer in PEERS:
        about = found[peer]
        tasks = about.get("tasks", [])
        rows = [{"task": task["name"], **columns(task)} for task in tasks]
        notes = [f"- *{task['name']}*: {task['note']}." for task in tasks if task.get("note")]
        parts += [f"\n## {about['name']}\n", SAID[peer], f"\n{markdown(rows)}\n"]
        parts += ["\n" + "\n".join(notes) + "\n"] if notes else []
    versions = (
        f"{about['name']} {next(iter(about['versions'].values()))}" for about in found.values()
    )
    beside = {name: x for a in found.values() for name, x in list(a["versions"].items())[1:]}
    last = max(about["date"] for about in found.values())
    steps = [dict(zip(("", "Neuronpedia", "Nissl"), row, strict=True)) for row in STEPS]
    parts += [
        NEURONPEDIA,
        markdown(steps),
        GOOD,
        START,
        starts(found),
        "\n\n## Versions\n\n",
        ", ".join(versions),
    ]
    parts.append(f"; {', '.join(f'{name} {x}' for name, x in beside.items())}.")
    parts.append(f" {next(iter(found.values()))['machine']}, beside other work; {last}.\n")
    return "".join(parts)


if __name__ == "__main__":
    made = page(json.loads((ROOT / KEPT).read_text()))
    (ROOT / "docs" / "compared.md").write_text(made)
