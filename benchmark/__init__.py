"""The harness: cards, samples, backbone, metrics, cells, records and tables of zsad-bench."""
