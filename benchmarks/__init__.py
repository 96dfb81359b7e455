"""
What the exchange costs, as ratios to references measured in the same breath: ``make bench``, ``docs/performance.md``.

``parse``, ``sdp`` and ``transactions`` are scripts of their own, for single steps: ``python benchmarks/parse.py``.
"""
