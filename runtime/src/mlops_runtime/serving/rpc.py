# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""gRPC: Seldon's services on grpc.aio."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import empty_pb2, json_format

from mlops_runtime.serving.model import PREDICT, ROUTE, TRANSFORM_INPUT, TRANSFORM_OUTPUT, Model, Verb
from mlops_runtime.serving.payload import proto_of_json
from mlops_runtime.serving.records import PUID_HEADER, Records, header_of
from mlops_runtime.serving.rest import RequestTimes
from mlops_runtime.serving.scheduler import Scheduler
from mlops_runtime.serving.seldon import SeldonMicroserviceException, messages
from mlops_runtime.serving.state import State

log = logging.getLogger(__name__)

Method = Callable[[Any, Any], Awaitable[Any]]  # message, context

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class RpcServices:
    """The methods behind the services; each takes a message and returns one."""

    def __init__(
        self,
        state: State,
        model: Model,
        scheduler: Scheduler,
        metadata: dict[str, Any] | None,
        times: RequestTimes,
        records: Records | None = None,
    ) -> None:
        self._state = state
        self._model = model
        self._scheduler = scheduler
        self._metadata = metadata
        self._times = times
        self._records = records

    def handlers(self) -> list[Any]:
        message, feedback = messages.SeldonMessage, messages.Feedback
        transform_input = (self._verb(TRANSFORM_INPUT), message)
        transform_output = (self._verb(TRANSFORM_OUTPUT), message)
        route = (self._verb(ROUTE), message)
        predict = (self._predict, message)
        send_feedback = (self._send_feedback, feedback)
        aggregate = (self._aggregate, messages.SeldonMessageList)
        services: dict[str, dict[str, tuple[Method, Any]]] = {
            "Seldon": {
                "Predict": predict,
                "SendFeedback": send_feedback,
                "ModelMetadata": (self._get_metadata, messages.SeldonModelMetadataRequest),
                "GraphMetadata": (self._graph_metadata, empty_pb2.Empty),
            },
            "Model": {
                "Predict": predict,
                "SendFeedback": send_feedback,
                "Metadata": (self._get_metadata, empty_pb2.Empty),
            },
            "Generic": {
                "TransformInput": transform_input,
                "TransformOutput": transform_output,
                "Route": route,
                "Aggregate": aggregate,
                "SendFeedback": send_feedback,
            },
            "Router": {"Route": route, "SendFeedback": send_feedback},
            "Transformer": {"TransformInput": transform_input},
            "OutputTransformer": {"TransformOutput": transform_output},
            "Combiner": {"Aggregate": aggregate},
        }
        return [
            grpc.method_handlers_generic_handler(
                f"seldon.protos.{service}",
                {
                    name: grpc.unary_unary_rpc_method_handler(
                        self._guarded(f"/seldon.protos.{service}/{name}", method),
                        request_deserializer=kind.FromString,
                        response_serializer=_serialize,
                    )
                    for name, (method, kind) in methods.items()
                },
            )
            for service, methods in services.items()
        ]

    def _guarded(self, path: str, method: Method) -> Callable[[Any, Any], Awaitable[Any]]:
        async def call(request: Any, context: Any) -> Any:
            started = time.perf_counter()
            code, details = grpc.StatusCode.OK, ""
            answer: Any = None
            try:
                self._state.require_ready()
                answer = await method(request, context)
            except SeldonMicroserviceException as error:
                code, details = _CODES.get(int(error.status_code), grpc.StatusCode.UNKNOWN), error.message
            except Exception as error:
                # In the words of gRPC's own server, as clients of Seldon's wrapper know them
                code, details = grpc.StatusCode.UNKNOWN, f"Exception calling application: {error}"
                log.exception("%s failed", path)
            self._times.observe(path, "unary", code.name, time.perf_counter() - started)
            if code is not grpc.StatusCode.OK:
                await context.abort(code, details)
            return answer

        return call

    def _verb(self, verb: Verb) -> Method:
        async def call(request: Any, _context: Any) -> Any:
            return await self._scheduler.predict(self._model.open(verb, request))

        return call

    async def _predict(self, request: Any, context: Any) -> Any:
        call = self._model.open(PREDICT, request)
        answer = await self._scheduler.predict(call)
        if self._records is not None:
            id = self._records.id_of(request, _puid(context))
            if header_of(id):
                context.set_trailing_metadata(((PUID_HEADER, id),))
            self._records.predicted(id, call, answer)
        return answer

    async def _aggregate(self, request: Any, _context: Any) -> Any:
        return await self._scheduler.run(lambda: self._model.aggregate(request))

    async def _send_feedback(self, request: Any, context: Any) -> Any:
        answer = await self._scheduler.run(lambda: self._model.send_feedback(request))
        if self._records is not None:
            self._records.labelled(request, _puid(context))
        return answer

    async def _get_metadata(self, _request: Any, _context: Any) -> Any:
        if self._metadata is None:
            raise SeldonMicroserviceException("Model metadata unavailable", 500, reason="MICROSERVICE_BAD_METADATA")
        answer = messages.SeldonModelMetadata()
        return json_format.ParseDict(self._metadata, answer, ignore_unknown_fields=True)

    async def _graph_metadata(self, _request: Any, _context: Any) -> Any:
        raise SeldonMicroserviceException("GraphMetadata not available on the Model level.", 501)


def _puid(context: Any) -> str:
    """The request's id that the client or Seldon's executor sent beside the message."""
    return next((str(value) for name, value in context.invocation_metadata() or () if name == PUID_HEADER), "")


def _serialize(answer: Any) -> bytes:
    if isinstance(answer, dict):  # of a class whose raw methods answer in JSON
        answer = proto_of_json(answer, messages.SeldonMessage)
    result: bytes = answer.SerializeToString()
    return result


def rpc_server(services: RpcServices, port: int, max_message: int) -> tuple[Any, int]:
    """A server that listens beside those of the other workers, and its port. Start it yourself."""
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", max_message),
            ("grpc.max_send_message_length", max_message),
        ]
    )
    handlers = services.handlers()
    server.add_generic_rpc_handlers(tuple(handlers))
    _add_reflection(server)
    bound = server.add_insecure_port(f"0.0.0.0:{port}")
    if bound == 0:
        raise OSError(f"can't listen on gRPC port {port}")
    return server, bound


def _add_reflection(server: Any) -> None:
    try:
        from grpc_reflection.v1alpha import reflection
    except Exception as error:  # made for a newer protobuf than the model's environment has
        log.warning("gRPC reflection is off: %s", error)
        return
    services = messages.SeldonMessage.DESCRIPTOR.file.services_by_name
    names = [service.full_name for service in services.values()]
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
