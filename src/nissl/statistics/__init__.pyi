from .finding import Finding as Finding
from .finding import load_finding as load_finding
from .nulls import CircularShift as CircularShift
from .nulls import PermutedLabels as PermutedLabels
