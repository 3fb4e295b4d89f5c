"""The torch engine: ``K`` networks are one computation, and one network is ``K = 1``.

It knows nothing of scikit-learn.  A fit arrives as a :class:`Job`, :func:`train` stacks the jobs that share their
:class:`Static` choices and trains them as rows of the same tensors, and each job leaves with its own :class:`Result`.
Not a public interface: names here may change without notice.
"""

from sklreg.engine.data import Batch, CSRRows, DenseRows, Rows, Samples, batch_bounds, count_batches
from sklreg.engine.ensemble import Ensemble
from sklreg.engine.job import Hyperparameters, Job, OptimizerState, Result, Static
from sklreg.engine.losses import LOSSES, smooth_labels
from sklreg.engine.mixup import Mixup, mix
from sklreg.engine.module_weights import Strength, Strengths, WeightRegularizer, count_zeros, weights_of
from sklreg.engine.modules import ACTIVATIONS, OutputUnits, layers_of
from sklreg.engine.pruning import SelectInputs, SparseLinear, prune, with_linears
from sklreg.engine.sampling import PASSES_AT_ONCE, ThinnedNetworks, has_dropout
from sklreg.engine.sharing import share_equal_samples
from sklreg.engine.stopping import EarlyStopping
from sklreg.engine.streams import Streams
from sklreg.engine.threads import threads_for
from sklreg.engine.train import train

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "PASSES_AT_ONCE",
    "Batch",
    "CSRRows",
    "DenseRows",
    "EarlyStopping",
    "Ensemble",
    "Hyperparameters",
    "Job",
    "Mixup",
    "OptimizerState",
    "OutputUnits",
    "Result",
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
    "batch_bounds",
    "count_batches",
    "count_zeros",
    "has_dropout",
    "layers_of",
    "mix",
    "prune",
    "share_equal_samples",
    "smooth_labels",
    "threads_for",
    "train",
    "weights_of",
    "with_linears",
]
