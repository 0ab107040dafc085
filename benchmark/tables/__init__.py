"""From records to tables, ablations, intervals, ranks and comparisons."""
