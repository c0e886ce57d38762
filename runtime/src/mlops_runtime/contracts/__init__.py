# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The vocabulary that the rooms of the runtime share. Standard library only."""
