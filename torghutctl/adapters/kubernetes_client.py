"""The Kubernetes API through the `kubernetes` client: plain GETs with a deadline for the whole exchange, no retries."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torghutctl.adapters.http_client import MAX_BODY_BYTES, Answer, Deadline, ExchangeError, Trouble
from torghutctl.errors import ConfigurationError

_CHUNK = 65536
_POOL_SIZE = 512
"""Connections that are kept for the next request; more at a time than that are possible and thrown away, with a word."""
_HINT = "name a cluster with --kubeconfig and --context, a bundle with --from-snapshot, or a folder with --local"


class KubernetesReader:
    """Reads paths of one API server. Safe to call from many threads."""

    def __init__(self, client: Any, credentials: tuple[str, ...] = ()) -> None:
        self._client = client
        self.credentials = credentials
        """What it shows the API server to be let in: to be masked wherever it turns up."""

    def get(self, path: str, query: Mapping[str, str] | None = None, *, deadline_s: float) -> Answer:
        """Return the answer to `GET path`. Raises ExchangeError; a status of any kind is an answer."""
        import urllib3

        deadline = Deadline(deadline_s)
        method, url, headers, body, fields = self._client.param_serialize(
            "GET",
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json, text/plain, */*"},
            auth_settings=["BearerToken"],
        )
        try:
            response = self._client.call_api(method, url, headers, body, fields, _request_timeout=deadline.left())
            return Answer(status=int(response.status), body=_read_body(response.response, deadline))
        except urllib3.exceptions.NewConnectionError as error:  # first: urllib3 calls it a time-out too
            raise ExchangeError(Trouble.UNREACHABLE, "no connection to the API server") from error
        except (urllib3.exceptions.TimeoutError, TimeoutError) as error:
            raise ExchangeError(Trouble.TIMEOUT, f"no answer within {deadline_s:g} s") from error
        except urllib3.exceptions.ProtocolError as error:
            if isinstance(error.args[-1] if error.args else None, ConnectionError):
                raise ExchangeError(Trouble.UNREACHABLE, "the connection was closed without an answer") from error
            raise ExchangeError(Trouble.TRUNCATED, "the answer ended early") from error
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
    from yaml import YAMLError

    config: Any = kubernetes_config  # ships without types
    configuration = client.Configuration(retries=False, connection_pool_maxsize=_POOL_SIZE)
    named = str(kubeconfig) if kubeconfig else environment.get("KUBECONFIG")
    default = Path(environment.get("HOME", "~")).expanduser() / ".kube" / "config"
    where = f"kubeconfig {named or default}{f', context {context}' if context else ''}"
    in_pod = "KUBERNETES_SERVICE_HOST" in environment and not named and context is None and not default.exists()
    if in_pod:
        where = "this pod's service account"
    said = _Said()
    logging.getLogger().addHandler(said)
    try:
        if in_pod:
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(
                config_file=named or str(default),
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError, YAMLError) as error:
        what = "cannot be used" if in_pod else _what_is_wrong(named or str(default), context)
        raise ConfigurationError(f"{where}: {what}", hint=_HINT) from error
    finally:
        logging.getLogger().removeHandler(said)
    if said.has_spoken and not configuration.api_key and not configuration.cert_file:
        raise ConfigurationError(f"{where}: its credential plugin gave no credential", hint="run the plugin by hand")
    configuration.retries = False
    return KubernetesReader(client.ApiClient(configuration), _credentials(configuration))


def _what_is_wrong(named: str, context: str | None) -> str:
    """Return, in our own words, why no cluster can be had from this kubeconfig (or several, as KUBECONFIG lists them)."""
    from yaml import YAMLError, safe_load

    contexts: set[str] = set()
    paths = [Path(part) for part in named.split(os.pathsep) if part]
    for path in paths:
        try:
            document = safe_load(path.read_text(encoding="utf-8"))
            contexts |= {str(item["name"]) for item in document["contexts"]}
        except FileNotFoundError:
            if len(paths) == 1:
                return "there is no such file"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        except (YAMLError, ValueError, TypeError, KeyError):
            return "is no usable kubeconfig"
    if context is not None and context not in contexts:
        return f"has no such context; it has {', '.join(sorted(contexts)) or 'none'}"
    return "is no usable kubeconfig"


class _Said(logging.Handler):
    """Keeps the client's own complaints about a credential plugin off standard error: they quote what it wrote."""

    has_spoken = False

    def emit(self, record: logging.LogRecord) -> None:
        self.has_spoken = self.has_spoken or record.levelno >= logging.ERROR


def _credentials(configuration: Any) -> tuple[str, ...]:
    found = [*configuration.api_key.values(), configuration.password]
    return tuple(sorted({str(value).split()[-1] for value in found if str(value or "").strip()}))
