"""HTTP/1.1 for many small requests and few large ones: pooled connections that notice stalls.

Leaner than `http.client`, whose header parser alone costs more than all that is done here. What a
client of an object store does not need is not there: redirects, cookies, compression, trailers.
"""

from tt_cloud._http._answer import Answer
from tt_cloud._http._pool import Connections

__all__ = ["Answer", "Connections"]
