"""Ask whether a W&B server answers at all."""

import ssl
import urllib.error
import urllib.request

PROBE_SECONDS = 5.0
"""Longest wait for an answer."""


def check_answers(address: str) -> None:
    """Raise a ConnectionError if the server at an address does not answer, or says that it is not available."""
    request = urllib.request.Request(f"{address}/graphql", b"{}", {"content-type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError as error:  # without a key or a question, a server that works refuses
        if error.code >= 500:
            raise ConnectionError(f"{address} answers {error.code} {error.reason}") from None
    except OSError as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLError):
            return  # it answers, with a certificate that W&B's client may accept
        raise ConnectionError(f"{address} does not answer ({error})") from None
