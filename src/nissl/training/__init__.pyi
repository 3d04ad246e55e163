from .batches import Batches as Batches
from .language import next_token_loss as next_token_loss
from .language import small_language_model as small_language_model
from .language import small_tokenizer as small_tokenizer
from .language import token_windows as token_windows
from .train import train as train
from .trained import Trained as Trained
