"""What a trace viewer and Prometheus need of us: a translator of spans, and the list of processes."""
