"""StopBench: ten scenarios of a stop, against us and against what people use today.

    benchmarks/stopbench.py [--quick] [--json] [--runs N] [--systems A,B] [--scenarios A,B]
                            [--page FILE] [--keep FILE] [--kept FILE]

    programs/    what runs in processes of its own: the agent that acts, the witness that sees it,
                 callers that are there already when a stop is wanted, an API with two workers
    scenarios/   one file each: what the agent does to outlive a stop, what goes wrong meanwhile
    systems/     one file each: how this system starts a target at its best setting, and stops it
    measure.py   one run: start, see it act, order, hear what is claimed, watch, clean up
    run.py       all of them in turns, and their figures
    results.py   the page in docs/results/

The judge is the witness: an act is a datagram, stamped when it arrives. What a system says of
itself is only compared with that. The order's time is noted by the caller immediately before it
calls; a caller is a process that runs already, with its connection open where there is one.
"""
