"""What Prometheus reads."""

from modeling_audio_branch.serve.metrics import Metrics


def test_requests_and_batches_are_counted_for_each_service_by_itself():
    metrics = Metrics()
    metrics.count_batch(3, 1.5)
    metrics.count_request(200, 0.02)
    metrics.count_request(422, 0.02)
    text = metrics.text().decode()
    assert 'audio_branch_requests_total{status="200"} 1.0' in text
    assert 'audio_branch_requests_total{status="422"} 1.0' in text
    assert "audio_branch_audio_seconds_total 1.5" in text
    assert 'audio_branch_batch_clips_bucket{le="2.0"} 0.0' in text and "audio_branch_batch_clips_sum 3.0" in text
    assert 'status="200"' not in Metrics().text().decode()
