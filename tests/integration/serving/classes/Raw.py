# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Reads and writes messages itself, of both kinds."""

from seldon_core.proto import prediction_pb2
from seldon_core.user_model import SeldonComponent
from seldon_core.utils import array_to_grpc_datadef, get_data_from_proto


class Raw(SeldonComponent):
    def predict_raw(self, msg):
        if isinstance(msg, prediction_pb2.SeldonMessage):
            data = array_to_grpc_datadef("tensor", get_data_from_proto(msg) + 1, ["n"])
            answer = prediction_pb2.SeldonMessage(data=data)
            answer.meta.tags["raw"].string_value = "yes"
            metric = answer.meta.metrics.add()
            metric.key, metric.type, metric.value = "raw_calls", 0, 1
            return answer
        if msg.get("strData") == "teapot":
            return {"status": {"code": 418, "info": "short and stout"}, "strData": "teapot"}
        metrics = [{"type": "COUNTER", "key": "raw_calls", "value": 1}]
        return {"data": {"names": ["n"], "ndarray": msg["data"]["ndarray"]}, "meta": {"metrics": metrics}}

    def send_feedback_raw(self, feedback):
        return prediction_pb2.SeldonMessage(strData=f"reward {feedback.reward}")

    def transform_input_raw(self, msg):
        return msg

    def transform_output_raw(self, msg):
        return {"strData": "out"} if isinstance(msg, dict) else prediction_pb2.SeldonMessage(strData="out")

    def route_raw(self, msg):
        if isinstance(msg, dict):
            return {"data": {"ndarray": [[3]]}}
        return prediction_pb2.SeldonMessage(data=array_to_grpc_datadef("tensor", get_data_from_proto(msg), []))

    def aggregate_raw(self, msgs):
        if isinstance(msgs, prediction_pb2.SeldonMessageList):
            return prediction_pb2.SeldonMessage(strData=str(len(msgs.seldonMessages)))
        return {"strData": str(len(msgs["seldonMessages"]))}

    def health_status_raw(self):
        return {"strData": "raw and well"}
