"""How far groups are behind, in seconds and messages, per partition; headroom before retention deletes; verdicts."""
