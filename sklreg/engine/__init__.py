"""The torch engine: ``K`` networks are one computation, and one network is ``K = 1``.

It knows nothing of scikit-learn.  A fit arrives as a :class:`Job`, :func:`train` stacks the jobs that share their
:class:`Static` choices and trains them as rows of the same tensors, and each job leaves with its own :class:`Result`.
Not a public interface: names here may change without notice.
"""

from sklreg.engine.activations import ACTIVATIONS
from sklreg.engine.data import Batch, CSRRows, DenseRows, OutputUnits, Rows, Samples, batch_bounds, count_batches
from sklreg.engine.ensemble import Ensemble
from sklreg.engine.inputs import (
    AS_GIVEN,
    Bins,
    InputMap,
    InputScale,
    PiecewiseLinear,
    RobustScaling,
    input_map_of,
    scale_and_clip,
)
from sklreg.engine.job import Committee, Hyperparameters, Job, OptimizerState, Result, Static
from sklreg.engine.losses import LOSSES, LossOptions, smooth_labels
from sklreg.engine.mixup import Mixup, mix
from sklreg.engine.module_weights import Strength, Strengths, WeightRegularizer, count_zeros, weights_of
from sklreg.engine.plain import WithShortcut, layers_of
from sklreg.engine.pruning import SelectInputs, SparseLinear, has_a_say, prune, with_linears
from sklreg.engine.sampling import PASSES_AT_ONCE, ThinnedNetworks, has_dropout
from sklreg.engine.sharing import share_equal_samples
from sklreg.engine.stopping import EarlyStopping
from sklreg.engine.streams import Streams
from sklreg.engine.threads import threads_for
from sklreg.engine.train import train

__all__ = [
    "ACTIVATIONS",
    "AS_GIVEN",
    "LOSSES",
    "PASSES_AT_ONCE",
    "Batch",
    "Bins",
    "CSRRows",
    "Committee",
    "DenseRows",
    "EarlyStopping",
    "Ensemble",
    "Hyperparameters",
    "InputMap",
    "InputScale",
    "Job",
    "LossOptions",
    "Mixup",
    "OptimizerState",
    "OutputUnits",
    "PiecewiseLinear",
    "Result",
    "RobustScaling",
    "Rows",
    "Samples",
    "SelectInputs",
    "SparseLinear",
    "Static",
    "Streams",
    "Strength",
    "Strengths",
    "ThinnedNetworks",
    "WeightRegularizer",
    "WithShortcut",
    "batch_bounds",
    "count_batches",
    "count_zeros",
    "has_a_say",
    "has_dropout",
    "input_map_of",
    "layers_of",
    "mix",
    "prune",
    "scale_and_clip",
    "share_equal_samples",
    "smooth_labels",
    "threads_for",
    "train",
    "weights_of",
    "with_linears",
]
