"""Where a topology runs: the guest kernel, the native lab, processes, captures, counters."""
