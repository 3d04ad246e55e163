from .at_sites import Gradients as Gradients
from .at_sites import gradients as gradients
from .integrated import IntegratedGradients as IntegratedGradients
from .integrated import integrated_gradients as integrated_gradients
