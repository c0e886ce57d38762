# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0


class BuildError(Exception):
    """An image can't be made; the message is for whoever registered the version, and holds no credentials."""
