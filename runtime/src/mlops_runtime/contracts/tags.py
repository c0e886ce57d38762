# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Tags of a model version that both who registers and who serves it read."""

from typing import Final

ENVIRONMENT: Final = "mlops.environment"
"""The name of the image that it runs in."""
IMAGE: Final = "mlops.image"
"""The image's reference, by digest."""
EPISODE: Final = "mlops.episode"
"""What the run that made it was for: an episode of the ledger, or a flow run of Prefect that no alert began."""
PROMOTION: Final = "mlops.promotion"
"""What became of a version that a retraining has made, and why."""
REQUIREMENTS: Final = "mlops.requirements"
"""SHA-256 of the lock that the environment is made of."""
IMAGE_FROM: Final = "mlops.image.from"
"""The image, by digest, that its own is made from: with the lock among its artefacts in the place of that image's."""
IMAGE_PROBLEM: Final = "mlops.image.problem"
"""Why its image can't be made; empty once it is."""
LOCK_FILE: Final = "environment/requirements.txt"
"""Where the lock lies among the artefacts of the version's run, where its image is yet to be made."""
