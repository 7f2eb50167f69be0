"""What Prometheus reads from the service at `/metrics`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self):
        registry = self.registry = CollectorRegistry()
        self.requests = Counter("audio_branch_requests", "Answered requests by status.", ["status"], registry=registry)
        self.latency = Histogram(
            "audio_branch_request_seconds",
            "From a request's first byte to its answer.",
            buckets=SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "audio_branch_batch_clips", "Clips of a forward pass.", buckets=BATCH_SIZES, registry=registry
        )
        self.audio = Counter("audio_branch_audio_seconds", "Seconds of encoded audio.", registry=registry)
        self.waiting = Gauge("audio_branch_waiting_clips", "Clips that wait for the model.", registry=registry)

    def count_batch(self, clips: int, seconds: float) -> None:
        """Counts a forward pass."""
        self.batches.observe(clips)
        self.audio.inc(seconds)

    def count_request(self, status: int, seconds: float) -> None:
        """Counts an answer that took so many seconds."""
        self.requests.labels(str(status)).inc()
        self.latency.observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus' format."""
        return generate_latest(self.registry)
