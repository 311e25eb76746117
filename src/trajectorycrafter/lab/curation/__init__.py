"""From clips, posed sequences and synthetic scenes to samples that models learn from (Sec. 4.1).

The one thing a reader would get wrong: this is not the layer that knows what a network wants. A
sample is pictures, masks and words; `samples/` says how, `training/` makes tensors of it.
"""
