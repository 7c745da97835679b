"""What a federated model must beat: fitted on the train part, tuned on validation."""

from fedrec.evaluation.baselines.ease import Ease
from fedrec.evaluation.baselines.item_knn import ItemKnn
from fedrec.evaluation.baselines.popularity import Popularity
from fedrec.evaluation.baselines.suite import NAMES, FittedBaseline, all_baselines
from fedrec.evaluation.baselines.tuning import Choice, Tuned, tune
from fedrec.evaluation.baselines.zero_shot import ZeroShotPopularity, ZeroShotText

__all__ = [
    "NAMES",
    "Choice",
    "Ease",
    "FittedBaseline",
    "ItemKnn",
    "Popularity",
    "Tuned",
    "ZeroShotPopularity",
    "ZeroShotText",
    "all_baselines",
    "tune",
]
