# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is looked at on a Kubernetes cluster before anything is applied to it."""
