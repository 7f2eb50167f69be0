"""The HTTP service of `audio-branch serve`. It needs FastAPI: pip install 'audio-branch[serve]'.

service.py has the routes, requests.py what a body may hold, decoding.py what a clip may be, batcher.py puts clips of
different requests into one forward pass, responses.py writes the answer, limits.py and metrics.py say what they are.
"""

try:
    import fastapi  # noqa: F401
    import prometheus_client  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "The service needs FastAPI, uvicorn and prometheus-client; install them with: pip install 'audio-branch[serve]'"
    ) from error

from .limits import Limits
from .service import create_service

__all__ = ["Limits", "create_service"]
