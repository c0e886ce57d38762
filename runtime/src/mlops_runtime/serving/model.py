# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A model's class behind Seldon's methods: what it defines, how each request reaches it, how its answer goes back.

Mirrors `seldon_core.seldon_methods` of Seldon Core 1.17.1, with the look-ups done once, when the class is loaded.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf import json_format

from mlops_runtime.serving.metrics import Registry, validate_metrics
from mlops_runtime.serving.payload import (
    Json,
    answer_json,
    answer_proto,
    array_of_data,
    bad_data,
    features_of_json,
    features_of_proto,
    json_of_proto,
    proto_of_json,
)
from mlops_runtime.serving.record import Sent
from mlops_runtime.serving.seldon import (
    SeldonComponent,
    SeldonMicroserviceException,
    SeldonNotImplementedError,
    SeldonResponse,
    messages,
)

log = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Verb:
    """One of the methods that take a message and return one."""

    name: str  # of the class's method
    tag: str  # in metrics
    missing: Callable[[Any], Any]  # the answer of a class without it


def _refuse(message: str) -> Callable[[Any], Any]:
    def refuse(_features: Any) -> Any:
        raise SeldonNotImplementedError(message)

    return refuse


PREDICT = Verb("predict", "predict", lambda _features: [])
TRANSFORM_INPUT = Verb("transform_input", "inputtransform", lambda features: features)
TRANSFORM_OUTPUT = Verb("transform_output", "outputtransform", lambda features: features)
ROUTE = Verb("route", "router", _refuse("route is not implemented"))
AGGREGATE = Verb("aggregate", "aggregate", _refuse("aggregate is not implemented"))
FEEDBACK = Verb("send_feedback", "feedback", lambda _features: None)
UNARY = (PREDICT, TRANSFORM_INPUT, TRANSFORM_OUTPUT, ROUTE)


@dataclass(slots=True)
class Call:
    """A request that has been read: what the class is to be called with."""

    verb: Verb
    request: Any
    is_proto: bool
    features: Any = None
    meta: Json | None = None
    names: list[str] = field(default_factory=list)
    read: bool = False
    rows: Array | None = None  # prepared rows of a class that predicts rows
    sent: Sent | None = None  # the features as they came, for the prediction's record
    embedding: Any = None


@dataclass(frozen=True)
class Options:
    unit: str | None = None  # PREDICTIVE_UNIT_ID: goes into requestPath and names the route in feedback
    image: str = "NOT_IMPLEMENTED:NOT_IMPLEMENTED"
    include_metrics: bool = True
    capture: Callable[[Any, Any], Sent | None] | None = None  # where predictions are recorded: features, request


class Model:
    """A model's object, of any class that Seldon's wrapper takes."""

    def __init__(self, user: Any, registry: Registry, options: Options) -> None:
        self.user = user
        self.registry = registry
        self.options = options
        self._path = {options.unit: options.image} if options.unit is not None else {}
        self._hooks = {verb: self._hook(verb.name) for verb in UNARY}
        self._raw = {verb: self._hook(f"{verb.name}_raw") for verb in (*UNARY, AGGREGATE, FEEDBACK)}
        self._takes_meta = {verb: _takes_meta(hook) for verb, hook in self._hooks.items() if hook}
        self._tags = self._hook("tags")
        self._metrics = self._hook("metrics")
        self._embedding = getattr(user, "embedding", None) if options.capture else None
        self._legacy = self._find_legacy()
        # A class that defines predict_rows says: rows of several requests may be predicted in one call.
        self.predicts_rows = callable(getattr(user, "predict_rows", None)) and not self._raw[PREDICT]
        self._prepare_rows = getattr(user, "prepare_rows", None)
        self.health_is_static = not (self._hook("health_status") or self._hook("health_status_raw"))

    def _hook(self, name: str) -> Callable[..., Any] | None:
        """The class's own method; not one that the base class has only to say that it isn't implemented."""
        hook = getattr(self.user, name, None)
        if hook is None or getattr(hook, "__func__", None) is getattr(SeldonComponent, name, None):
            return None
        return hook  # type: ignore[no-any-return]

    def _find_legacy(self) -> dict[tuple[Verb, bool], Callable[..., Any]]:
        """Methods of Seldon's first versions, which win over the others."""
        found: dict[tuple[Verb, bool], Callable[..., Any]] = {}
        for verb in (*UNARY, AGGREGATE, FEEDBACK):
            rest, grpc = (getattr(self.user, f"{verb.name}_{kind}", None) for kind in ("rest", "grpc"))
            if rest or grpc:
                log.warning("%s_rest and %s_grpc are deprecated: use %s_raw", verb.name, verb.name, verb.name)
            if verb is PREDICT:
                found |= {(verb, proto): hook for proto, hook in ((False, rest), (True, grpc)) if hook}
            elif hook := rest or grpc:
                found |= {(verb, False): hook, (verb, True): hook}
        return found

    # Requests in

    def open(self, verb: Verb, request: Any) -> Call:
        """Read a request, dict or SeldonMessage, unless the class reads it itself. Raises what the client did wrong."""
        call = Call(verb, request, isinstance(request, messages.SeldonMessage))
        if not self._raw[verb] and (verb, call.is_proto) not in self._legacy:
            self._read(call)
        return call

    def _read(self, call: Call) -> None:
        rows = self.predicts_rows and call.verb is PREDICT
        reader = features_of_proto if call.is_proto else features_of_json
        call.features, call.meta, call.names = reader(call.request, rows)
        call.read = True
        if self.options.capture is not None and call.verb is PREDICT:
            call.sent = self.options.capture(call.features, call.request)
        if rows:
            prepared = self._prepare_rows(call.features, call.names) if self._prepare_rows else call.features
            # Without rows there is nothing to put together: the class's predict decides.
            call.rows = prepared if isinstance(prepared, np.ndarray) and prepared.ndim > 0 else None

    # Answers out

    def run(self, call: Call) -> Any:
        """Call the class. The answer is of the request's kind."""
        verb = call.verb
        if legacy := self._legacy.get((verb, call.is_proto)):
            return legacy(call.request)
        if raw := self._raw[verb]:
            try:
                return self._strip_metrics(raw(call.request), verb)
            except SeldonNotImplementedError:
                pass
        if not call.read:
            self._read(call)
        if call.rows is not None:
            return self._answer(call, self.user.predict_rows(call.rows))
        hook = self._hooks[verb]
        if hook is None:
            if verb is ROUTE and not hasattr(self.user, "route"):
                raise SeldonNotImplementedError("Route not defined")
            return self._answer(call, verb.missing(call.features))
        try:
            if self._takes_meta[verb]:
                data = hook(call.features, call.names, meta=call.meta)
            else:
                data = hook(call.features, call.names)
        except SeldonNotImplementedError:
            if verb is ROUTE:
                raise
            data = verb.missing(call.features)
        return self._answer(call, data)

    def run_rows(self, calls: Sequence[Call]) -> list[Any]:
        """Call the class once for the rows of several requests. Raises if its answer isn't one row for each."""
        rows = [call.rows for call in calls if call.rows is not None]
        answer = np.asarray(self.user.predict_rows(np.concatenate(rows)))
        if len(answer) != sum(map(len, rows)):
            raise ValueError("predict_rows must answer one row for each row")
        ends = np.cumsum([len(part) for part in rows])[:-1]
        return [self._answer(call, part) for call, part in zip(calls, np.split(answer, ends), strict=True)]

    def _answer(self, call: Call, data: Any) -> Any:
        response = SeldonResponse.create(data)
        if callable(self._embedding) and call.verb is PREDICT:
            call.embedding = self._embed(call)
        meta: Json | None = call.meta
        if call.verb is ROUTE:
            if not isinstance(response.data, int):
                raise bad_data(f"Routing response must be int but got {response.data}")
            response.data, meta = np.array([[response.data]]), None
        metrics = self._custom_metrics(call.verb.tag, response.metrics)
        return self._pack(call.request, call.is_proto, response, meta, metrics)

    def _pack(self, request: Any, is_proto: bool, response: Any, meta: Json | None, metrics: list[Json]) -> Any:
        """Data and meta as a message. Tags and metrics of the request come back with the class's added."""
        answer_meta: Json = {}
        tags = meta.get("tags", {}) if meta else {}
        sent_metrics = meta.get("metrics", []) if meta else []
        request_path = meta.get("requestPath", {}) if meta else {}
        if self._tags:
            try:
                tags = {**tags, **(self._tags() or {})}
            except SeldonNotImplementedError:
                pass
        if response.tags:
            tags = {**tags, **response.tags}
        if tags:
            answer_meta["tags"] = tags
        if sent_metrics or metrics:
            answer_meta["metrics"] = [*sent_metrics, *metrics]
        if is_proto:
            puid = request.meta.puid
        else:
            puid = (request.get("meta") or {}).get("puid") if isinstance(request, dict) else None
        if puid:
            answer_meta["puid"] = puid
        if self._path or request_path:
            answer_meta["requestPath"] = {**self._path, **request_path}
        if is_proto:
            return answer_proto(request, response.data, answer_meta, self._class_names)
        return answer_json(request, response.data, answer_meta, self._class_names)

    def _embed(self, call: Call) -> Any:
        """The class's embedding of a request's rows, shape (rows, dimensions); it may fail, the prediction may not."""
        try:
            return np.asarray(self.user.embedding(call.features, call.names), dtype=float)
        except Exception:
            log.exception("The class's embedding failed: the record goes without")
            return None

    def _class_names(self, answer: Array) -> list[str]:
        if answer.ndim < 2:
            return []
        names = getattr(self.user, "class_names", None)
        if inspect.ismethod(names):
            if self._hook("class_names"):
                try:
                    return list(names())
                except SeldonNotImplementedError:
                    pass
        elif names is not None:
            return list(names)
        return [f"t:{column}" for column in range(answer.shape[1])]

    def _custom_metrics(self, tag: str, metrics: list[Json]) -> list[Json]:
        """Count the metrics of this request and of the class; return those that the client is to see."""
        found = list(self._checked(metrics, tag))
        if self._metrics:
            try:
                found = [*self._checked(self._metrics(), tag), *found]
            except SeldonNotImplementedError:
                pass
        return found if self.options.include_metrics else []

    def _checked(self, metrics: Any, tag: str) -> list[Json]:
        if not metrics and isinstance(metrics, list):
            return metrics
        if not validate_metrics(metrics):
            raise SeldonMicroserviceException(
                f"Bad metric created during request: {json.dumps(metrics, default=str)}",
                status_code=500,
                reason="MICROSERVICE_BAD_METRIC",
            )
        self.registry.update(metrics, tag)
        return metrics  # type: ignore[no-any-return]

    def _strip_metrics(self, answer: Any, verb: Verb) -> Any:
        """Count the metrics in a message that the class made itself."""
        if isinstance(answer, messages.SeldonMessage):
            metrics = json_of_proto(answer.meta).get("metrics", []) if answer.HasField("meta") else []
            if metrics and not self.options.include_metrics:
                del answer.meta.metrics[:]
        elif isinstance(answer, dict):
            metrics = (answer.get("meta") or {}).get("metrics", [])
            if metrics and not self.options.include_metrics:
                del answer["meta"]["metrics"]
        else:
            return answer
        for metric in metrics:  # protobuf's JSON leaves out what is zero: the type COUNTER, a value of 0
            metric.setdefault("value", 0)
        self.registry.update(metrics, verb.tag)
        return answer

    # The verbs that take other messages

    def aggregate(self, request: Any) -> Any:
        """Combine several messages: a SeldonMessageList, its JSON, or a list of messages in JSON."""
        is_proto = isinstance(request, messages.SeldonMessageList)
        if legacy := self._legacy.get((AGGREGATE, is_proto)):
            return legacy(request)
        if raw := self._raw[AGGREGATE]:
            try:
                return self._strip_metrics(raw(request), AGGREGATE)
            except SeldonNotImplementedError:
                pass
        if is_proto:
            parts = list(request.seldonMessages)
            opened: list[tuple[Any, Json | None, list[str]]] = [features_of_proto(part) for part in parts]
        else:
            listed = request.get("seldonMessages") if isinstance(request, dict) else request
            if not isinstance(listed, list):
                raise bad_data(f"Invalid request data type: {request}")
            parts = listed
            opened = [features_of_json(part) for part in parts]
        if not parts:
            raise bad_data("aggregate needs at least one message")
        hook = getattr(self.user, "aggregate", None)
        if hook is None:
            raise SeldonNotImplementedError("Aggregate not defined")
        response = SeldonResponse.create(hook([features for features, _, _ in opened], [names for *_, names in opened]))
        metrics = self._custom_metrics(AGGREGATE.tag, response.metrics)
        metas = [meta for _, meta, _ in opened if meta]
        merged: Json = {"tags": {}, "requestPath": {}}
        for meta in metas:
            merged["tags"].update(meta.get("tags", {}))
            merged["requestPath"].update(meta.get("requestPath", {}))
        sent = [metric for meta in metas for metric in meta.get("metrics", [])]
        return self._pack(parts[0], is_proto, response, merged, [*sent, *metrics])

    def send_feedback(self, request: Any) -> Any:
        """Give the class a reward and the truth. `request` is a Feedback message; so is not the answer."""
        self.registry.reward(request.reward)
        if legacy := self._legacy.get((FEEDBACK, True)):
            is_rest = legacy == getattr(self.user, "send_feedback_rest", None)
            answer = legacy(json_format.MessageToJson(request) if is_rest else request)
            return proto_of_json(answer or {}, messages.SeldonMessage)
        if raw := self._raw[FEEDBACK]:
            try:
                return self._strip_metrics(raw(request), FEEDBACK)
            except SeldonNotImplementedError:
                pass
        data: Any = None
        if hook := self._hook("send_feedback"):
            features, truth = array_of_data(request.request.data), array_of_data(request.truth.data)
            routing = request.response.meta.routing.get(self.options.unit or "0")
            try:
                data = hook(features, list(request.request.data.names), request.reward, truth, routing=routing)
            except SeldonNotImplementedError:
                data = None
        response = SeldonResponse.create(data)
        metrics = self._custom_metrics(FEEDBACK.tag, response.metrics)
        if response.data is None:
            response.data = np.array([])
        return self._pack(request.request, True, response, None, metrics)

    def health_status(self) -> Any:
        """The class's word on its own health, as Seldon's JSON."""
        if raw := self._hook("health_status_raw"):
            try:
                return raw()
            except SeldonNotImplementedError:
                pass
        if hasattr(self.user, "health_status"):
            try:
                data = self.user.health_status()
            except SeldonNotImplementedError:
                data = "not implemented - assuming healthy"
        else:
            data = "healthy"
        metrics = self._custom_metrics("health", [])
        return self._pack({}, False, SeldonResponse.create(data), None, metrics)


def _takes_meta(hook: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(hook).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(parameter.name == "meta" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
