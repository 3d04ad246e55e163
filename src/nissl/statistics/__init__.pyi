from .finding import Finding as Finding
from .finding import load_finding as load_finding
from .nulls import CircularShift as CircularShift
from .nulls import PermutedLabels as PermutedLabels
from .extremes import Extremes as Extremes
from .histogram import Histogram as Histogram
from .moments import Moments as Moments
from .summary import Summary as Summary
