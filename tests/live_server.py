"""A small language model with words, and questions to the explorer that serves its atlas."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from tiny import VOCABULARY

TEXT = "w3 w1 w4 w1 w5 w9 w2 w6"


def tokenizer() -> Any:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[PAD]", "[BOS]", "[EOS]", "[UNK]", *(f"w{i}" for i in range(VOCABULARY - 4))]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", eos_token="[EOS]", unk_token="[UNK]"
    )


def post(address: str, path: str, body: Any) -> http.client.HTTPResponse:
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    headers = {"content-type": "application/json", "cookie": f"nissl-{place.port}=secret"}
    connection.request("POST", path, json.dumps(body), headers)
    return connection.getresponse()


def said(address: str, path: str, body: Any) -> Any:
    answer = post(address, path, body)
    text = answer.read().decode()
    assert answer.status == 200, text
    return json.loads(text)


def refused(address: str, path: str, body: Any) -> str:
    answer = post(address, path, body)
    assert answer.status == 400
    return str(json.loads(answer.read())["error"])


def generated(address: str, **body: Any) -> dict[str, str]:
    """The last that is said of each side."""
    found: dict[str, str] = {}
    for line in post(address, "/api/touch", body).read().decode().splitlines():
        found |= json.loads(line)
    return found
