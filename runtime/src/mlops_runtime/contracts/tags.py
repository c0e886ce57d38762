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
