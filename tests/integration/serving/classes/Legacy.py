# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Methods of Seldon's first versions."""

from seldon_core.proto import prediction_pb2


class Legacy:
    def predict_rest(self, request):
        return {"strData": "rest", "meta": request.get("meta", {})}

    def predict_grpc(self, request):
        return prediction_pb2.SeldonMessage(strData="grpc")

    def send_feedback_rest(self, feedback):
        return {"strData": "thanks"}
