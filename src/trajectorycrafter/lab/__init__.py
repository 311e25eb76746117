"""The paper's other half: samples, curation, training, synthetic scenes, evaluation."""
