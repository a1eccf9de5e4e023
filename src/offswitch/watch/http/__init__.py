"""HTTP as sensors need it: a listener that bounds everything, and a fetch that never waits."""
