"""The jobs: shot, pipeline, generation, reshoot, plan, manifest, batch, doctor."""
