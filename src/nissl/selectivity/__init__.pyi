from .universal import correlation_with_partners as correlation_with_partners
from .universal import universal as universal
from .families import families as families
from .families import weight_signature as weight_signature
