"""Files, run folders, engine, machine, plug-ins, stages, weights."""
