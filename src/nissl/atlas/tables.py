"""What an atlas keeps on disk: the columns of its tables, and how they are checked.

An atlas is a folder:

======================  ==========================================================================
``units.parquet``       one row a unit, in the order of the recording: what the unit is
``examples.parquet``    one row a unit, sign and rank: the places where a unit is at its extremes
``tokens.parquet``      one row a unit and rank: the tokens a unit prefers (networks that read text)
``bigrams.parquet``     the same for pairs of neighbouring tokens
``tuning.parquet``      one row a unit and coordinate of the samples (recordings), or label of
                        the images
``images``              small pictures of images that are shown (networks that read images)
``arrays.zarr``         ``histogram`` (unit, bin) and its ``edges`` (bin + 1); for text the
                        ``token``, ``document`` and ``position`` of every sample; of recordings
                        with places ``rate_map`` (unit, row, column), and its edges; of
                        recordings ``raster`` (unit, row, column), 0 where there is no sample,
                        else 1 to 255 between the ends of ``raster_range``; ``raster_start`` of
                        its rows, ``raster_edges`` of its columns and, where rows are trials,
                        their ``raster_mean`` (unit, column)
``vocabulary.json``     id to text of every token that occurs (networks that read text)
``atlas.json``          where it came from: settings, versions, counts, seconds
``index.html``          the page, made from all of these
``notes.json``          notes on units, and sets of units, where somebody kept some
``units``               what the page tells of each unit when it is opened, 512 units a file
======================  ==========================================================================

Effects of tokens and pairs are means over documents of the mean over a document's occurrences.
The context of an example is not copied: it is the slice ``start:stop`` of the sample arrays, so
that two million examples cost no more than their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BIGRAMS",
    "EXAMPLES",
    "IMAGE_EXAMPLES",
    "KINDS",
    "NETWORK_UNITS",
    "TOKENS",
    "TUNING",
    "UNITS",
    "Column",
    "conform",
]


@dataclass(frozen=True)
class Column:
    """A column of one of the tables.

    Parameters
    ----------
    name : str
        Its name in the table.
    dtype : str
        What pandas calls its type; ``list`` for a list of strings or numbers in each row.
    meaning : str
        What it says, with the unit of measurement.

    Examples
    --------
    >>> Column("mean", "float32", "mean activity").name
    'mean'
    """

    name: str
    dtype: str
    meaning: str


def _columns(text: str) -> tuple[Column, ...]:
    """Read columns from lines of ``name dtype meaning``."""
    rows = (line.split(maxsplit=2) for line in text.strip().splitlines())
    return tuple(Column(name, dtype, meaning) for name, dtype, meaning in rows)


#: Every atlas has these columns in ``units.parquet``, whatever its units are; a biological
#: recording adds the unit coordinates it has and one group of columns for each tuning.
UNITS = _columns("""
unit             str      address, such as blocks.3.mlp.neurons[812]; unique
site             str      the site or region it belongs to
layer            int16    number of the block, -1 where there is none
index            int32    place of the unit in its site
count            int64    finite values that the statistics rest on
nonfinite        int64    values that were not finite and were left out
first_nonfinite  int64    sample of the first of them, -1 where there is none
mean             float32  mean activity
sd               float32  standard deviation
skew             float32  skewness; 0 for a symmetric unit, NaN for a constant one
kurtosis         float32  excess kurtosis; 0 for a normal unit, NaN for a constant one
min              float32  lowest value
max              float32  highest value
density          float32  share of samples at which the unit is active (rule in atlas.json)
dead             bool     never active, on enough samples to say so (rule in atlas.json)
kind             str      one of KINDS, decided by the rules in atlas.json
neighbours       list     addresses of the units most correlated with it, nearest first
neighbour_r      list     their correlations, on the sample of moments that atlas.json states
""")

#: What the units of a network have besides.
NETWORK_UNITS = _columns("""
active_above     float32  threshold of activity beyond which the unit counts as active
first_position   float32  mean at the first position of a window, which other columns leave out
position_share   float32  share of variance explained by position in the window (omega squared)
token            str      the token it prefers most, empty where none is kept
token_id         int32    its id, -1 where none
token_effect     float32  activity at the token, in sd of the unit from its mean in the window
token_p          float64  two-sided p over documents, of this unit and token alone
token_q          float64  p corrected over all units and tokens searched
token_share      float32  share of its most extreme samples that are the token
bigram           str      the pair of tokens it prefers most, the second being the sample itself
bigram_first     int32    id of the first, -1 where none
bigram_second    int32    id of the second, -1 where none
bigram_share     float32  as for tokens
bigram_effect    float32  as for tokens
bigram_p         float64  as for tokens
bigram_q         float64  corrected over all units and bigrams searched
language         str      the label of documents it prefers, empty where documents carry none
language_effect  float32  difference of means in sd between documents of the label and all others
language_q       float64  p over documents, corrected over all units and labels
output_norm      float32  norm of the output weights
cos_in_out       float32  cosine of input and output weights; NaN where the site has none
cos_gate_out     float32  cosine of gate and output weights
cos_in_gate      float32  cosine of input and gate weights
gated_class      str      what a gated neuron does to what it reads; empty where there is no gate
promoted         list     tokens whose logits the output weights raise most
promoted_logit   list     by how much for an activity of one, before the final norm divides
suppressed       list     tokens whose logits they lower most
suppressed_logit list     by how much
""")

EXAMPLES = _columns("""
unit             str      address
row              int32    row of the unit in units.parquet
sign             int8     1 for the highest values, -1 for the lowest
rank             int16    1 for the most extreme
value            float32  activity there
sample           int64    place in the sample arrays
document         int32    document of the sample, -1 where there is none
position         int32    position in its window, -1 where there is none
token            int32    token id at the sample, -1 where there is none
start            int64    first sample of the context
stop             int64    one past the last sample of the context
activity         list     the unit's activity at samples start:stop, for the first ranks; else empty
""")

#: What examples have besides where a network reads images, each image once; labels follow.
IMAGE_EXAMPLES = _columns("""
stimulus         int32    number of the image
map_row          int32    row of the unit's map, or of the grid of patches; -1 where there is none
map_column       int32    its column; of what is no picture, the place in the row
left             float32  left edge of that cell in the picture, as a share of its width
top              float32  upper edge, as a share of its height
width            float32  width of the cell, as a share: its place, not what it can see
height           float32  height of the cell
""")

TOKENS = _columns("""
unit             str      address
row              int32    row of the unit in units.parquet
rank             int16    1 for the strongest evidence
token            str      the token as text
token_id         int32    its id
n_documents      int32    documents it occurs in
effect           float32  activity at the token, in sd of the unit from its mean in the window
p                float64  two-sided p over documents
q                float64  p corrected over all units and tokens searched
""")

BIGRAMS = _columns("""
unit             str      address
row              int32    row of the unit in units.parquet
rank             int16    1 for the strongest evidence
bigram           str      the pair as text
first            int32    id of the first token
second           int32    id of the second, at which the activity is read
n_documents      int32    documents it occurs in
effect           float32  activity at the pair, in sd of the unit from its mean in the window
p                float64  two-sided p over documents
q                float64  p corrected over all units and bigrams searched
""")

TUNING = _columns("""
unit             str      address
coordinate       str      the sample coordinate
kind             str      categorical, circular or continuous
eta2             float64  share of the unit's variance between the coordinate's levels
effect           float64  eta2 less the mean of its null
null_mean        float64  mean of eta2 under the null
null_sd          float64  its deviation
p                float64  one-sided p of this unit and coordinate alone
q                float64  p corrected over all units and coordinates searched
preferred        float64  level with the highest mean; of an angle, direction of the mean vector
preferred_name   str      what it is called
auroc            float64  preferred category against all others; NaN where there are no categories
vector_length    float64  0 (flat) to 1 (one direction); NaN but for angles and spikes
information      float64  bits per spike; NaN where activity is not spikes
n                int64    observations
null             str      what was permuted
levels           list     code of each category or centre of each bin
level_names      list     what they are called
level_n          list     observations at each level
curve            list     mean count of spikes at each level; of others, less the unit's mean
null_low         list     2.5th percentile of the same under the null
null_high        list     97.5th percentile
note             str      why it was not tested (p and q are then 1); empty where it was
""")

#: Kinds of units, in the order in which the rules are asked; the first that holds is the kind.
#: ``tuned`` is a unit of a recording, or of a network that reads images, where a tuning passes its
#: null.
KINDS = ("dead", "positional", "token", "bigram", "language", "tuned", "unexplained", "untested")


def conform(table: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return a table with the columns of a schema first, in its order and types.

    Parameters
    ----------
    table : DataFrame
        The table, which has every column of the schema and may have more.
    columns : sequence of Column
        The schema.

    Returns
    -------
    DataFrame
        The same rows; columns beyond the schema follow, unchanged.

    Raises
    ------
    NisslError
        A column of the schema is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"more": [1], "mean": [0.5]})
    >>> list(conform(table, [Column("mean", "float32", "mean activity")]).columns)
    ['mean', 'more']
    """
    missing = [c.name for c in columns if c.name not in table]
    if missing:
        raise NisslError(
            f"the table lacks the columns {', '.join(missing)}", do="see nissl.atlas.tables"
        )
    names = {c.name for c in columns}
    table = table[[c.name for c in columns] + [n for n in table if n not in names]]
    return table.astype({c.name: c.dtype for c in columns if c.dtype != "list"})
