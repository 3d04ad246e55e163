from .eeg import read_eeg as read_eeg
from .file import read_file as read_file
from .gifti import read_gifti as read_gifti
from .nifti import read_nifti as read_nifti
from .nwb import read_nwb as read_nwb
from .table import read_table as read_table
