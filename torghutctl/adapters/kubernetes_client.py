"""The Kubernetes API through the `kubernetes` client: plain GETs with a deadline for the whole exchange, no retries."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torghutctl.adapters.http_client import MAX_BODY_BYTES, Answer, Deadline, ExchangeError, Trouble
from torghutctl.adapters.kubeconfig import PluginSilence, bound_plugins, load
from torghutctl.errors import ConfigurationError

_CHUNK = 65536
_TOO_MANY = 429
_POOL_SIZE = 512
"""Connections that are kept for the next request; more at a time than that are possible and thrown away, with a word."""
_HINT = "name a cluster with --kubeconfig and --context, a bundle with --from-snapshot, or a folder with --local"


class KubernetesReader:
    """Reads paths of one API server. Safe to call from many threads."""

    def __init__(self, client: Any, credentials: tuple[str, ...] = (), *, server: str = "", where: str = "") -> None:
        self._client = client
        self.server = server
        """Address of the API server."""
        self.where = where
        """What named it: kubeconfig and context, or the pod's service account."""
        self.credentials = credentials
        """What it shows the API server to be let in: to be masked wherever it turns up."""

    def get(self, path: str, query: Mapping[str, str] | None = None, *, deadline_s: float) -> Answer:
        """Return the answer to `GET path`. Raises ExchangeError; a status of any kind is an answer.

        A server that says when to ask again (429) is asked once more, where that is within the deadline.
        """
        deadline = Deadline(deadline_s)
        answer, wait_seconds = self._get(path, query, deadline)
        if answer.status == _TOO_MANY and wait_seconds is not None and wait_seconds < deadline.left():
            time.sleep(wait_seconds)
            answer, _ = self._get(path, query, deadline)
        return answer

    def _get(self, path: str, query: Mapping[str, str] | None, deadline: Deadline) -> tuple[Answer, float | None]:
        import urllib3

        deadline_s = deadline.seconds
        try:
            method, url, headers, body, fields = self._client.param_serialize(
                "GET",
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json, text/plain, */*"},
                auth_settings=["BearerToken"],
            )
        except PluginSilence as silence:  # a token that ran out is asked for again here
            raise ExchangeError(Trouble.TIMEOUT, str(silence)) from None
        try:
            response = self._client.call_api(method, url, headers, body, fields, _request_timeout=deadline.left())
            answer = Answer(status=int(response.status), body=_read_body(response.response, deadline))
            return answer, _retry_after(response.response.headers.get("Retry-After"))
        except urllib3.exceptions.NewConnectionError as error:  # first: urllib3 calls it a time-out too
            raise ExchangeError(Trouble.UNREACHABLE, _connection_words(error)) from error
        except (urllib3.exceptions.TimeoutError, TimeoutError) as error:
            raise ExchangeError(Trouble.TIMEOUT, f"no answer within {deadline_s:g} s") from error
        except urllib3.exceptions.ProtocolError as error:
            if isinstance(error.args[-1] if error.args else None, ConnectionError):
                raise ExchangeError(Trouble.UNREACHABLE, "the connection was closed without an answer") from error
            raise ExchangeError(Trouble.TRUNCATED, "the answer ended early") from error
        except urllib3.exceptions.SSLError as error:
            raise ExchangeError(Trouble.UNREACHABLE, "TLS with the API server failed") from error
        except urllib3.exceptions.HTTPError as error:
            raise ExchangeError(Trouble.UNREACHABLE, f"no connection ({type(error).__name__})") from error
        except OSError as error:
            raise ExchangeError(Trouble.UNREACHABLE, f"no connection ({type(error).__name__})") from error
        except self._api_error as error:
            raise ExchangeError(Trouble.UNREACHABLE, "TLS with the API server failed") from error

    @property
    def _api_error(self) -> type[Exception]:
        from kubernetes.client.exceptions import ApiException

        error: type[Exception] = ApiException
        return error

    def close(self) -> None:
        """Close the connections."""
        self._client.rest_client.pool_manager.clear()


def _connection_words(error: BaseException) -> str:
    """Say why there is no connection: the name, a refusal, or the network."""
    from urllib3.exceptions import NameResolutionError

    if isinstance(error, NameResolutionError):
        return "the API server's name is not known to DNS"
    if isinstance(error.__cause__, ConnectionRefusedError):
        return "the API server's address refuses connections"
    return "no connection to the API server"


def _retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None where there is none, or a date."""
    return float(header) if header is not None and header.strip().isdigit() else None


def _read_body(response: Any, deadline: Deadline) -> bytes:
    body = bytearray()
    try:
        while True:
            left = deadline.left()
            socket = getattr(getattr(response, "connection", None), "sock", None)
            if socket is not None:
                socket.settimeout(left)
            piece = response.read1(_CHUNK, decode_content=True)
            if not piece:
                break
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise ExchangeError(Trouble.TOO_LARGE, f"the answer is over {MAX_BODY_BYTES} bytes")
        if response.length_remaining:
            raise ExchangeError(Trouble.TRUNCATED, "the answer ended early")
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return bytes(body)


def connect(
    *, kubeconfig: Path | None = None, context: str | None = None, environment: Mapping[str, str]
) -> KubernetesReader:
    """Return a reader of the API server that kubeconfig and context name, or of the cluster this pod runs in.

    `environment` is consulted for KUBECONFIG and for the variables of a pod. Raises ConfigurationError when neither a
    kubeconfig nor a service account is there.
    """
    from kubernetes import client
    from kubernetes import config as kubernetes_config
    from kubernetes.config.config_exception import ConfigException

    config: Any = kubernetes_config  # ships without types
    configuration = client.Configuration(retries=False, connection_pool_maxsize=_POOL_SIZE)
    named = str(kubeconfig) if kubeconfig else environment.get("KUBECONFIG")
    default = Path(environment.get("HOME", "~")).expanduser() / ".kube" / "config"
    where = f"kubeconfig {named or default}{f', context {context}' if context else ''}"
    in_pod = "KUBERNETES_SERVICE_HOST" in environment and not named and context is None and not default.exists()
    bound_plugins()
    said = _Said()
    logging.getLogger().addHandler(said)
    chosen = None
    try:
        if in_pod:
            where = "this pod's service account"
            config.load_incluster_config(client_configuration=configuration)
        else:
            paths = [Path(part) for part in (named or str(default)).split(os.pathsep) if part]
            chosen = load(paths, context)
            where = f"kubeconfig {named or default}, context {chosen.context}"
            config.load_kube_config_from_dict(chosen.document, client_configuration=configuration, persist_config=False)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}", hint=_HINT) from error
    except PluginSilence as silence:
        hint = "run the plugin by hand: it may wait for a login"
        raise ConfigurationError(f"{where}: {silence}", hint=hint) from None
    except (ConfigException, OSError, TypeError, KeyError, AttributeError) as error:
        what = "cannot be used" if in_pod else "is no usable kubeconfig"
        raise ConfigurationError(f"{where}: {what}", hint=_HINT) from error
    finally:
        logging.getLogger().removeHandler(said)
    if said.has_spoken and not configuration.api_key and not configuration.cert_file:
        program = Path(chosen.plugin).name if chosen is not None and chosen.plugin else ""
        what = f"its credential plugin {program}".rstrip()
        raise ConfigurationError(f"{where}: {what} gave no credential", hint="run the plugin by hand")
    configuration.retries = False
    return KubernetesReader(
        client.ApiClient(configuration), _credentials(configuration), server=str(configuration.host), where=where
    )


class _Said(logging.Handler):
    """Keeps the client's own complaints about a credential plugin off standard error: they quote what it wrote."""

    has_spoken = False

    def emit(self, record: logging.LogRecord) -> None:
        self.has_spoken = self.has_spoken or record.levelno >= logging.ERROR


def _credentials(configuration: Any) -> tuple[str, ...]:
    found = [*configuration.api_key.values(), configuration.password]
    return tuple(sorted({str(value).split()[-1] for value in found if str(value or "").strip()}))
